/* linux_pages.c: linux_pages.h, and guards that no map shows.
 *
 * Promises: what the headers promise. Two ways to ask: the request PAGEMAP_SCAN (Linux 6.7), or words, one for each page.
 * Guards of MADV_GUARD_INSTALL (6.13, used by glibc 2.43) are shown by the words from 6.15 on, by the request from 6.16
 * on. Where the kernel has them and shows them by neither, nothing can be told.
 *
 * Measured on Linux 6.18: 0.5 us for 2 MiB that are not in use, 1 us for 64 MiB; 3 us for each MiB that is. By words
 * 8 us for each MiB. */
#ifdef __linux__
#define _GNU_SOURCE
#include "linux_pages.h"

#include "bounds.h"
#include "proc_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    WORDS = 32,
    MOST_BY_WORDS = 16 << 20, /* bytes */
    INSTALL_GUARD = 102, /* MADV_GUARD_INSTALL */
};

/* struct pm_scan_arg of <linux/fs.h>. */
typedef struct {
    uint64_t size, flags, start, end, walk_end, regions, regions_length, most_pages;
    uint64_t inverted, all_of, any_of, returned;
} page_scan;

#define PAGE_SCAN _IOWR('f', 16, page_scan)

static uintptr_t page_of(uintptr_t address)
{
    return address & ~(uintptr_t)(PAGE - 1);
}

typedef struct {
    uintptr_t start, end;
    unsigned kinds;
    int most;
} question;

/* ---- by the request ---- */

static int by_scan(int file, const question *asked, sw_region *regions, uintptr_t *reached)
{
    page_scan request = {.size = sizeof request,
                         .start = asked->start,
                         .end = asked->end,
                         .regions = (uintptr_t)regions,
                         .regions_length = (uint64_t)asked->most,
                         .most_pages = asked->most == 1, /* 0: all */
                         .inverted = SW_ZERO,
                         .all_of = SW_ZERO,
                         .any_of = asked->kinds,
                         .returned = SW_HUGE | SW_GUARD};
    int got = ioctl(file, PAGE_SCAN, &request);
    *reached = (uintptr_t)request.walk_end;
    return got;
}

/* ---- by words ---- */

static unsigned kind_of(uint64_t word)
{
    return word >> 58 & 1 ? SW_GUARD : word >> 62 != 0 ? SW_IN_USE : 0; /* a guard's word looks swapped, too */
}

/* Add a page to the regions. Their number; -1: there is no place for it. */
static int add_page(sw_region *regions, int got, int most, uintptr_t page, unsigned kind)
{
    if (got > 0 && regions[got - 1].end == page && regions[got - 1].categories == (kind & SW_GUARD)) {
        regions[got - 1].end += PAGE;
        return got;
    }
    if (got == most) {
        return -1;
    }
    regions[got] = (sw_region){page, page + PAGE, kind & SW_GUARD};
    return got + 1;
}

static int by_words(int file, const question *asked, sw_region *regions, uintptr_t *reached)
{
    uint64_t words[WORDS];
    int got = 0;
    *reached = asked->start;
    while (*reached < asked->end) {
        size_t pages = (asked->end - *reached) / PAGE < WORDS ? (asked->end - *reached) / PAGE : WORDS;
        ssize_t size = (ssize_t)(pages * sizeof *words);
        if (*reached - asked->start >= MOST_BY_WORDS
            || pread(file, words, (size_t)size, (off_t)(*reached / PAGE * sizeof *words)) != size) {
            return -1;
        }
        for (size_t i = 0; i < pages; i++, *reached += PAGE) {
            unsigned kind = kind_of(words[i]) & asked->kinds;
            int more = kind != 0 ? add_page(regions, got, asked->most, *reached, kind) : got;
            if (more < 0) {
                return got;
            }
            got = more;
        }
    }
    return got;
}

/* ---- which of the two: the kernel's answer does not change ---- */

enum { ASKED = 1, BY_SCAN = 2, BY_WORDS = 4, HAS_GUARDS = 8, HIDES_HUGE_PAGES = 16 };

static _Atomic int ways;

static int words_show_guards(int file)
{
    uint64_t word = 0;
    char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return 0;
    }
    int shown = madvise(page, PAGE, INSTALL_GUARD) == 0
             && pread(file, &word, sizeof word, (off_t)((uintptr_t)page / PAGE * sizeof word)) == sizeof word
             && kind_of(word) == SW_GUARD;
    munmap(page, PAGE);
    return shown;
}

/* Words do not show huge pages. */
static int uses_huge_pages(void)
{
    char text[64] = "";
    int file = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    return got > 0 && strstr(text, "[always]") != NULL;
}

static int find_ways(int file)
{
    if (sysconf(_SC_PAGESIZE) != PAGE) {
        return ASKED | HAS_GUARDS;
    }
    int guards = madvise(NULL, 0, INSTALL_GUARD) == 0 ? HAS_GUARDS : 0;
    sw_region region;
    uintptr_t reached, here = page_of((uintptr_t)&region);
    question one_page = {here, here + PAGE, guards ? SW_IN_USE | SW_GUARD : SW_IN_USE, 1};
    if (by_scan(file, &one_page, &region, &reached) == 1) {
        return ASKED | BY_SCAN | guards;
    }
    return ASKED | guards | (!guards || words_show_guards(file) ? BY_WORDS : 0)
         | (uses_huge_pages() ? HIDES_HUGE_PAGES : 0);
}

static int ways_of(int file)
{
    int known = file >= 0 ? ways : 0;
    if (file >= 0 && !known) {
        ways = known = find_ways(file);
    }
    return known;
}

int sw_pages(int pagemap, uintptr_t start, uintptr_t end, unsigned kinds, int most, sw_region *regions,
             uintptr_t *reached)
{
    int known = ways_of(pagemap);
    question asked = {start, end, known & HAS_GUARDS ? kinds : kinds & SW_IN_USE, most};
    if (known != 0 && asked.kinds == 0) {
        *reached = end;
        return 0;
    }
    if (known & BY_SCAN) {
        return by_scan(pagemap, &asked, regions, reached);
    }
    return known & BY_WORDS ? by_words(pagemap, &asked, regions, reached) : -1;
}

int sw_shows_huge_pages(int pagemap)
{
    int known = ways_of(pagemap);
    return known != 0 && !(known & HIDES_HUGE_PAGES);
}

/* ---- guards that no map shows ---- */

enum { REGIONS = 16 };

uintptr_t sw_end_of_guard(uintptr_t page, uintptr_t least)
{
    sw_region regions[REGIONS];
    int error = errno, got = 0;
    int pagemap = sw_open_kept(&sw_pagemap_file);
    uintptr_t end = least, reached = page_of(least);
    while (reached < page && got >= 0) {
        got = sw_pages(pagemap, reached, page, SW_GUARD, REGIONS, regions, &reached);
        end = got > 0 ? (uintptr_t)regions[got - 1].end : end;
    }
    errno = error;
    return got < 0 ? 0 : end;
}

#endif
