// An allocator of somebody else, preloaded: libc's, with a count that it prints at the end if OTHER_MALLOC_REPORT is set.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

static unsigned long small, large;
static size_t counted(size_t bytes) {
  if (bytes < 65536) __atomic_add_fetch(&small, 1, __ATOMIC_RELAXED);
  else __atomic_add_fetch(&large, 1, __ATOMIC_RELAXED);
  return bytes;
}

void* malloc(size_t n) { return __libc_malloc(counted(n)); }
void* calloc(size_t n, size_t each) { return __libc_calloc(n, each); }
void* realloc(void* p, size_t n) { return __libc_realloc(p, n); }
void* memalign(size_t align, size_t n) { return __libc_memalign(align, n); }
void* aligned_alloc(size_t align, size_t n) { return __libc_memalign(align, n); }
int posix_memalign(void** p, size_t align, size_t n) {
  if (align < sizeof(void*) || (align & (align - 1)) != 0) return EINVAL;
  void* block = __libc_memalign(align, n);
  if (block == NULL) return ENOMEM;
  *p = block;
  return 0;
}
void free(void* p) { __libc_free(p); }

__attribute__((destructor)) static void report(void) {
  if (getenv("OTHER_MALLOC_REPORT")) fprintf(stderr, "other_malloc: small %s, large %s\n", small ? "yes" : "no", large ? "yes" : "no");
}
