/* MPICH's waiting ranks never yield: with more ranks than CPUs every message takes a scheduler's tick. Preloaded under
 * MPICH's own UCX, with and without the interposer alike, this lets them yield whenever UCX has nothing to do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sched.h>

unsigned ucp_worker_progress(void* worker) {
  static unsigned (*below)(void*);
  if (!below) *(void**)&below = dlsym(RTLD_NEXT, "ucp_worker_progress");
  if (!below) *(void**)&below = dlsym(dlopen("libucp.so.0", RTLD_LAZY), "ucp_worker_progress"); /* loaded by a Python module for itself */
  const unsigned done = below(worker);
  if (!done) sched_yield();
  return done;
}
