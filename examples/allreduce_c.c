/* The same sum in C. */
#include <libcoll/libcoll.h>

#include <stdio.h>

int main(void) {
  libcoll_comm world;
  int rank, size;
  int64_t one, sum = 0;
  if (libcoll_comm_from_environment(&world) != LIBCOLL_OK) {
    fprintf(stderr, "%s\n", libcoll_last_error());
    return 1;
  }
  libcoll_comm_rank(world, &rank);
  libcoll_comm_size(world, &size);
  one = rank + 1;
  if (libcoll_allreduce(&one, &sum, 1, LIBCOLL_I64, LIBCOLL_SUM, world) != LIBCOLL_OK) {
    fprintf(stderr, "%s\n", libcoll_last_error());
    return 1;
  }
  if (rank == 0) printf("libcoll %s: sum of 1..%d = %lld\n", libcoll_version(), size, (long long)sum);
  libcoll_comm_close(&world);
  return sum == (int64_t)size * (size + 1) / 2 ? 0 : 1;
}
