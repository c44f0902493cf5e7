// The smallest program: every rank contributes one number, every rank gets the sum.
//   mpirun -n 4 example_allreduce       (or torchrun, srun, mpiexec.hydra; MPI itself is not used)
//   for r in 0 1; do LIBCOLL_RANK=$r LIBCOLL_SIZE=2 LIBCOLL_ROOT=127.0.0.1:5555 example_allreduce & done
#include <libcoll/libcoll.hpp>

#include <cstdio>

int main() {
  using namespace libcoll;
  try {
    Comm world = Comm::from_environment();
    const int sum = world.allreduce(world.rank() + 1, Op::sum);
    const int expected = world.size() * (world.size() + 1) / 2;
    if (world.rank() == 0) std::printf("sum of 1..%d = %d\n", world.size(), sum);
    world.close();
    return sum == expected ? 0 : 1;
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
