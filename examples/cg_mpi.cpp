// A conjugate-gradient solver as a real MPI application: the 5-point Laplacian on a square grid, rows
// dealt out in bands. The halo exchange stays with MPI; the two dot products of each iteration, which
// bound its latency, go through libcoll. Checked against the same solver on MPI_Allreduce.
//   mpirun -n 4 example_cg [grid side]
#include <libcoll/mpi.hpp>
#include <libcoll/libcoll.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

namespace {

using Dot = std::function<double(double)>;  // sum of one number over all ranks

struct Band {
  int side, rows, rank, size;  // a band of `rows` grid rows
  std::size_t cells() const { return static_cast<std::size_t>(rows) * static_cast<std::size_t>(side); }
};

// Vectors carry one halo row above and below.
std::vector<double> vector_of(const Band& b) { return std::vector<double>((static_cast<std::size_t>(b.rows) + 2) * static_cast<std::size_t>(b.side)); }

void exchange_halo(const Band& b, std::vector<double>& v) {
  const int up = b.rank > 0 ? b.rank - 1 : MPI_PROC_NULL, down = b.rank + 1 < b.size ? b.rank + 1 : MPI_PROC_NULL;
  const auto row = [&](int r) { return v.data() + static_cast<std::size_t>(r) * static_cast<std::size_t>(b.side); };
  MPI_Sendrecv(row(1), b.side, MPI_DOUBLE, up, 0, row(b.rows + 1), b.side, MPI_DOUBLE, down, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  MPI_Sendrecv(row(b.rows), b.side, MPI_DOUBLE, down, 1, row(0), b.side, MPI_DOUBLE, up, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

void apply_laplacian(const Band& b, std::vector<double>& x, std::vector<double>& y) {
  exchange_halo(b, x);
  for (int r = 1; r <= b.rows; ++r)
    for (int c = 0; c < b.side; ++c) {
      const std::size_t i = static_cast<std::size_t>(r) * static_cast<std::size_t>(b.side) + static_cast<std::size_t>(c);
      const auto side = static_cast<std::size_t>(b.side);
      y[i] = 4 * x[i] - x[i - side] - x[i + side] - (c > 0 ? x[i - 1] : 0) - (c + 1 < b.side ? x[i + 1] : 0);
    }
}

double local_dot(const Band& b, const std::vector<double>& x, const std::vector<double>& y) {
  double s = 0;
  const auto side = static_cast<std::size_t>(b.side);
  for (std::size_t i = side; i < side + b.cells(); ++i) s += x[i] * y[i];
  return s;
}

struct Solution { int iterations; double residual, norm; };

Solution solve(const Band& b, const Dot& sum) {
  std::vector<double> x = vector_of(b), r = vector_of(b), p = vector_of(b), q = vector_of(b);
  const auto side = static_cast<std::size_t>(b.side);
  for (std::size_t i = side; i < side + b.cells(); ++i) r[i] = p[i] = 1;
  double rr = sum(local_dot(b, r, r));
  const double goal = 1e-16 * rr;
  int k = 0;
  for (; rr > goal && k < 2000; ++k) {
    apply_laplacian(b, p, q);
    const double alpha = rr / sum(local_dot(b, p, q));
    for (std::size_t i = side; i < side + b.cells(); ++i) x[i] += alpha * p[i], r[i] -= alpha * q[i];
    const double next = sum(local_dot(b, r, r)), beta = next / rr;
    for (std::size_t i = side; i < side + b.cells(); ++i) p[i] = r[i] + beta * p[i];
    rr = next;
  }
  return {k, std::sqrt(rr), std::sqrt(sum(local_dot(b, x, x)))};
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int failures = 1;
  try {
    libcoll::Comm world = libcoll::Comm::from_mpi(MPI_COMM_WORLD);
    const int side = argc > 1 ? std::atoi(argv[1]) : 96;
    const int rank = world.rank(), size = world.size();
    if (side < size) throw libcoll::Error(libcoll::Errc::invalid_argument, "the grid side must be at least the number of ranks");
    const Band band{side, side / size + (rank < side % size ? 1 : 0), rank, size};

    double t = -MPI_Wtime();
    const Solution ours = solve(band, [&](double v) { return world.allreduce(v, libcoll::Op::sum); });
    t += MPI_Wtime();
    double t_mpi = -MPI_Wtime();
    const Solution theirs = solve(band, [](double v) {
      double s;
      MPI_Allreduce(&v, &s, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
      return s;
    });
    t_mpi += MPI_Wtime();

    // The two may add ranks' sums in another order: equal within rounding, not bit for bit.
    failures = std::abs(ours.norm - theirs.norm) <= 1e-10 * theirs.norm && std::abs(ours.iterations - theirs.iterations) <= 2 ? 0 : 1;
    failures = world.allreduce(failures, libcoll::Op::max);
    if (rank == 0)
      std::printf("libcoll: %d iterations, |x| = %.12g; MPI: %d iterations, |x| = %.12g; time ratio MPI/libcoll %.2f\n", ours.iterations, ours.norm,
                  theirs.iterations, theirs.norm, t_mpi / t);
    world.close();
  } catch (const libcoll::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  MPI_Finalize();
  return failures;
}
