// placed_stack: a StackAllocator over memory that somebody else mapped, and keeps. A test's choice of where it lies.
#ifndef PLACED_STACK_HPP
#define PLACED_STACK_HPP

#include <boost/context/stack_context.hpp>
#include <boost/context/stack_traits.hpp>

#include <cstddef>
#include <cstdint>
#include <new>

#include "../../extensions/machine.h"

struct placed_stack {
    using traits_type = boost::context::stack_traits;
    std::uintptr_t base;
    std::size_t size;

    boost::context::stack_context allocate()
    {
        boost::context::stack_context made;
        made.sp = reinterpret_cast<void *>(base + size);
        made.size = size;
        return made;
    }
    void deallocate(boost::context::stack_context &) noexcept {}
};

// The base of new memory for a stack, above a guard.
inline std::uintptr_t new_stack(std::size_t size)
{
    char *base = map_stack(size);
    if (base == nullptr) {
        throw std::bad_alloc();
    }
    return reinterpret_cast<std::uintptr_t>(base);
}

#endif
