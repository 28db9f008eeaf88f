/* macos.c: bounds.h on macOS. Not run. */
#ifdef __APPLE__
#include "bounds.h"

#include <mach/mach.h>
#include <mach/mach_vm.h>
#include <pthread.h>

int sw_native_bounds(uintptr_t *base, uintptr_t *top)
{
    *top = (uintptr_t)pthread_get_stackaddr_np(pthread_self());
    *base = *top - pthread_get_stacksize_np(pthread_self());
    return 0;
}

int sw_mapping_of(uintptr_t address, uintptr_t *low, uintptr_t *high)
{
    mach_vm_address_t start = address;
    mach_vm_size_t size;
    vm_region_basic_info_data_64_t info;
    mach_msg_type_number_t count = VM_REGION_BASIC_INFO_COUNT_64;
    mach_port_t object;
    if (mach_vm_region(mach_task_self(), &start, &size, VM_REGION_BASIC_INFO_64, (vm_region_info_t)&info, &count,
                       &object)
            != KERN_SUCCESS
        || start > address || !(info.protection & VM_PROT_READ)) {
        return -1;
    }
    *low = (uintptr_t)start;
    *high = (uintptr_t)(start + size);
    return 0;
}

int sw_is_readable(uintptr_t address)
{
    uintptr_t low, high;
    return sw_mapping_of(address, &low, &high) == 0;
}

#endif
