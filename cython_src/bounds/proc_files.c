/* proc_files.c: proc_files.h, and what is forgotten after a fork. */
#ifdef __linux__
#define _GNU_SOURCE
#include "proc_files.h"

#include "bounds.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

sw_proc_file sw_maps_file = {"/proc/self/maps", 0};
sw_proc_file sw_pagemap_file = {"/proc/self/pagemap", 0};

static int descriptor_of(uint64_t file)
{
    return (int)(file >> 32);
}

/* A descriptor with the file behind it, as in sw_proc_file; 0: it is no file of /proc. Those have no blocks and no
 * size, and their inodes have 32 bits. */
static uint64_t identify(int descriptor)
{
    struct stat file;
    if (fstat(descriptor, &file) != 0 || !S_ISREG(file.st_mode) || file.st_size != 0 || file.st_blocks != 0) {
        return 0;
    }
    return (uint64_t)descriptor << 32 | (uint32_t)file.st_ino;
}

/* Another thread may have opened the file meanwhile: then its descriptor is the one that stays. */
static int open_anew(sw_proc_file *file, uint64_t former)
{
    int descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return -1;
    }
    uint64_t opened = identify(descriptor);
    if (opened != 0 && atomic_compare_exchange_strong(&file->open, &former, opened)) {
        return descriptor;
    }
    close(descriptor);
    return opened != 0 && former != 0 ? descriptor_of(former) : -1;
}

int sw_open_kept(sw_proc_file *file)
{
    uint64_t open = atomic_load(&file->open);
    return open != 0 && identify(descriptor_of(open)) == open ? descriptor_of(open) : open_anew(file, open);
}

int sw_kept_unchecked(const sw_proc_file *file)
{
    uint64_t open = atomic_load_explicit(&file->open, memory_order_relaxed);
    return open != 0 ? descriptor_of(open) : -1;
}

void sw_close_kept(sw_proc_file *file)
{
    uint64_t open = atomic_exchange(&file->open, 0);
    if (open != 0 && identify(descriptor_of(open)) == open) {
        close(descriptor_of(open));
    }
}

void sw_forget_files(void)
{
    sw_close_kept(&sw_maps_file);
    sw_close_kept(&sw_pagemap_file);
}

#endif
