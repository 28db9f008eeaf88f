/* proc_files.h: files of /proc/self that stay open between two questions, because opening one takes 3 us.
 *
 * Promises: no lock, and nothing that an execve() inherits. A program may close descriptors that it did not open, and
 * get the same number for a file of its own: so a descriptor is first checked to be still that file
 * (test_a_descriptor_that_was_closed_and_given_to_another_file). */
#ifndef SW_PROC_FILES_H
#define SW_PROC_FILES_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct {
    const char *path;
    _Atomic uint64_t open; /* descriptor << 32 | inode, so that threads exchange it without a lock; 0: none */
} sw_proc_file;

extern sw_proc_file sw_maps_file, sw_pagemap_file;

/* Its descriptor, opened where it is not open; or -1. */
int sw_open_kept(sw_proc_file *file);

/* The descriptor that was its last, or -1. Costs no system call. It may be another file's by now: for requests that any
 * other file refuses, whose answer is compared with what is known. */
int sw_kept_unchecked(const sw_proc_file *file);

/* Close it, if it is still that file. */
void sw_close_kept(sw_proc_file *file);

#endif
