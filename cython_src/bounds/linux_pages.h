/* linux_pages.h: which pages of an entry of the map are in use, and which are guards, as /proc/self/pagemap shows them. */
#ifndef SW_LINUX_PAGES_H
#define SW_LINUX_PAGES_H

#include <stdint.h>

/* struct page_region of <linux/fs.h>. */
typedef struct {
    uint64_t start, end, categories;
} sw_region;

/* Categories: PAGE_IS_... of <linux/fs.h>. */
#define SW_PRESENT (1u << 3)
#define SW_SWAPPED (1u << 4)
#define SW_ZERO (1u << 5) /* read, but never written */
#define SW_HUGE (1u << 6)
#define SW_GUARD (1u << 8)
#define SW_IN_USE (SW_PRESENT | SW_SWAPPED)

/* Pages of [start, end) that are any of `kinds`: in use, guards, or both. `most` regions are filled in; of one alone no
 * more than the first page is told. Regions that are not guards are in use; those that were read but never written are
 * not.
 * Requires: start and end of pages; a descriptor of /proc/self/pagemap, or -1.
 * Guarantees: their number, and how far they were looked for; or -1: it can't be told. One system call, or one for each
 *   32 pages. */
int sw_pages(int pagemap, uintptr_t start, uintptr_t end, unsigned kinds, int most, sw_region *regions,
             uintptr_t *reached);

/* Are huge pages shown as such? 0 also where `pagemap` is -1. */
int sw_shows_huge_pages(int pagemap);

#endif
