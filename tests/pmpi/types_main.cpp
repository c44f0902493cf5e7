// Every predefined type with every predefined operation in every reducing collective, against the MPI's own result.
// Where MPI refuses a pair, so must we, with the same class of error.
#include "check.hpp"

namespace {

using namespace pmpi_test;

struct Named { MPI_Datatype type; const char* name; };
#define T(x) {x, #x}
const Named types[] = {
    T(MPI_CHAR), T(MPI_SIGNED_CHAR), T(MPI_UNSIGNED_CHAR), T(MPI_SHORT), T(MPI_UNSIGNED_SHORT), T(MPI_INT), T(MPI_UNSIGNED), T(MPI_LONG), T(MPI_UNSIGNED_LONG),
    T(MPI_LONG_LONG_INT), T(MPI_UNSIGNED_LONG_LONG), T(MPI_FLOAT), T(MPI_DOUBLE), T(MPI_LONG_DOUBLE), T(MPI_WCHAR), T(MPI_C_BOOL), T(MPI_INT8_T), T(MPI_INT16_T),
    T(MPI_INT32_T), T(MPI_INT64_T), T(MPI_UINT8_T), T(MPI_UINT16_T), T(MPI_UINT32_T), T(MPI_UINT64_T), T(MPI_AINT), T(MPI_OFFSET), T(MPI_COUNT), T(MPI_C_FLOAT_COMPLEX),
    T(MPI_C_DOUBLE_COMPLEX), T(MPI_C_LONG_DOUBLE_COMPLEX), T(MPI_BYTE), T(MPI_PACKED), T(MPI_FLOAT_INT), T(MPI_DOUBLE_INT), T(MPI_LONG_INT), T(MPI_2INT), T(MPI_SHORT_INT),
    T(MPI_LONG_DOUBLE_INT), T(MPI_INTEGER), T(MPI_REAL), T(MPI_DOUBLE_PRECISION), T(MPI_COMPLEX), T(MPI_DOUBLE_COMPLEX), T(MPI_LOGICAL), T(MPI_CHARACTER), T(MPI_INTEGER1),
    T(MPI_INTEGER2), T(MPI_INTEGER4), T(MPI_INTEGER8), T(MPI_REAL4), T(MPI_REAL8), T(MPI_REAL16), T(MPI_COMPLEX8), T(MPI_COMPLEX16), T(MPI_COMPLEX32), T(MPI_2REAL),
    T(MPI_2DOUBLE_PRECISION), T(MPI_2INTEGER), T(MPI_CXX_BOOL), T(MPI_CXX_FLOAT_COMPLEX), T(MPI_CXX_DOUBLE_COMPLEX)};
struct NamedOp { MPI_Op op; const char* name; };
const NamedOp ops[] = {T(MPI_SUM), T(MPI_PROD), T(MPI_MIN), T(MPI_MAX), T(MPI_LAND), T(MPI_LOR), T(MPI_LXOR), T(MPI_BAND), T(MPI_BOR), T(MPI_BXOR), T(MPI_MINLOC), T(MPI_MAXLOC)};
#undef T

template <class H>
bool is_one_of(H t, std::initializer_list<H> list) {
  for (const H u : list)
    if (t == u) return true;
  return false;
}

// Small exact values: floating-point sums come out the same in any order, and nothing overflows, where MPIs differ
// (Open MPI 4.1 saturates small integers, MPICH 4.0 compares large unsigned char as signed, Open MPI offsets as unsigned). Padding stays zero.
template <class V>
void put(Bytes& b, std::size_t at, V v) { std::memcpy(b.data() + at, &v, sizeof v); }
void fill(Bytes& b, MPI_Datatype type, std::size_t extent, int count, int salt, MPI_Op op) {
  const bool truth = is_one_of(op, {MPI_LAND, MPI_LOR, MPI_LXOR});
  const bool is_unsigned = is_one_of(type, {MPI_UNSIGNED_CHAR, MPI_UNSIGNED_SHORT, MPI_UNSIGNED, MPI_UNSIGNED_LONG, MPI_UNSIGNED_LONG_LONG, MPI_UINT8_T, MPI_UINT16_T, MPI_UINT32_T, MPI_UINT64_T, MPI_AINT, MPI_OFFSET, MPI_COUNT});
  for (int i = 0; i < count; ++i) {
    const int second = op == MPI_PROD ? 0 : i + salt;  // no negative zeros
    int v = truth ? (i + salt) % 2 : op == MPI_PROD ? (salt == 0 ? 2 : (i + salt) % 3 - 1) : (i * 7 + salt * 3) % 5 - (salt + i) % 2;
    if (is_unsigned || op == MPI_PROD) v = v < 0 ? -v : v;
    const std::size_t at = static_cast<std::size_t>(i) * extent;
    if (is_one_of(type, {MPI_FLOAT, MPI_REAL, MPI_REAL4})) put(b, at, static_cast<float>(v));
    else if (is_one_of(type, {MPI_DOUBLE, MPI_DOUBLE_PRECISION, MPI_REAL8})) put(b, at, static_cast<double>(v));
    else if (is_one_of(type, {MPI_LONG_DOUBLE})) put(b, at, static_cast<long double>(v));
    else if (is_one_of(type, {MPI_C_FLOAT_COMPLEX, MPI_COMPLEX, MPI_COMPLEX8, MPI_CXX_FLOAT_COMPLEX, MPI_2REAL})) put(b, at, static_cast<float>(v)), put(b, at + 4, static_cast<float>(second));
    else if (is_one_of(type, {MPI_C_DOUBLE_COMPLEX, MPI_DOUBLE_COMPLEX, MPI_COMPLEX16, MPI_CXX_DOUBLE_COMPLEX, MPI_2DOUBLE_PRECISION}))
      put(b, at, static_cast<double>(v)), put(b, at + 8, static_cast<double>(second));
    else if (is_one_of(type, {MPI_FLOAT_INT})) put(b, at, static_cast<float>(v)), put(b, at + 4, i + salt);
    else if (is_one_of(type, {MPI_DOUBLE_INT})) put(b, at, static_cast<double>(v)), put(b, at + 8, i + salt);
    else if (is_one_of(type, {MPI_LONG_INT})) put(b, at, static_cast<long>(v)), put(b, at + 8, i + salt);
    else if (is_one_of(type, {MPI_SHORT_INT})) put(b, at, static_cast<short>(v)), put(b, at + 4, i + salt);
    else if (is_one_of(type, {MPI_2INT, MPI_2INTEGER})) put(b, at, v), put(b, at + 4, i + salt);
    else if (is_one_of(type, {MPI_LONG_DOUBLE_INT})) put(b, at, static_cast<long double>(v)), put(b, at + 16, i + salt);
    else if (is_one_of(type, {MPI_C_BOOL, MPI_CXX_BOOL, MPI_LOGICAL})) b[at] = static_cast<unsigned char>((v & 1) != 0);
    else if (is_one_of(type, {MPI_C_LONG_DOUBLE_COMPLEX, MPI_COMPLEX32, MPI_REAL16})) continue;  // zero
    else
      for (std::size_t k = 0; k < extent; ++k) b[at + k] = k == 0 ? static_cast<unsigned char>(v) : truth || v >= 0 ? 0 : 0xff;
  }
}

// What a long double leaves in its padding is nobody's.
void blank_padding(Bytes& b, MPI_Datatype type) {
  if (!is_one_of(type, {MPI_LONG_DOUBLE, MPI_C_LONG_DOUBLE_COMPLEX})) return;
  for (std::size_t i = 0; i < b.size(); ++i)
    if (i % sizeof(long double) >= 10) b[i] = 0;
}

// Runs it by MPI_X and PMPI_X into equal buffers and compares codes, then all bytes. True if the MPI has it.
MPI_Datatype compared = MPI_DATATYPE_NULL;
template <class Ours, class Mpis>
bool compare(const std::string& what, const Bytes& before, const Ours& ours, const Mpis& mpis) {
  Bytes a = before, b = before;
  const int right = mpis(b.data()), got = ours(a.data());
  require(class_of(got) == class_of(right), what + ": error class " + std::to_string(class_of(got)) + ", MPI's is " + std::to_string(class_of(right)));
  blank_padding(a, compared);
  blank_padding(b, compared);
  if (right == MPI_SUCCESS) require_equal(a, b, what);
  return right == MPI_SUCCESS;
}

void check_pair(const Named& t, const NamedOp& o, int count) {
  compared = t.type;
  MPI_Aint lower = 0, extent_of_type = 0;
  MPI_Type_get_extent(t.type, &lower, &extent_of_type);
  const auto extent = static_cast<std::size_t>(extent_of_type);
  const int n = size_of(), me = rank_of(), root = n / 2;
  Bytes in(extent * static_cast<std::size_t>(count * n)), out(in.size(), 0x5a);
  fill(in, t.type, extent, count * n, me, o.op);
  Bytes other(in.size());
  fill(other, t.type, extent, count * n, me + 2, o.op);
  Bytes zero(out.size());  // pairs' padding is nobody's: alike in both
  const void* send = in.data();
  const MPI_Comm c = MPI_COMM_WORLD;
  const std::string what = std::string(t.name) + " " + o.name + " count " + std::to_string(count) + ": ";
  const bool allowed = compare(what + "allreduce", zero, [&](void* r) { return MPI_Allreduce(send, r, count, t.type, o.op, c); }, [&](void* r) { return PMPI_Allreduce(send, r, count, t.type, o.op, c); });
  compare(what + "allreduce in place", in, [&](void* r) { return MPI_Allreduce(MPI_IN_PLACE, r, count, t.type, o.op, c); },
          [&](void* r) { return PMPI_Allreduce(MPI_IN_PLACE, r, count, t.type, o.op, c); });
  compare(what + "reduce", zero, [&](void* r) { return MPI_Reduce(send, r, count, t.type, o.op, root, c); }, [&](void* r) { return PMPI_Reduce(send, r, count, t.type, o.op, root, c); });
  compare(what + "reduce in place", in, [&](void* r) { return MPI_Reduce(me == root ? MPI_IN_PLACE : send, me == root ? r : nullptr, count, t.type, o.op, root, c); },
          [&](void* r) { return PMPI_Reduce(me == root ? MPI_IN_PLACE : send, me == root ? r : nullptr, count, t.type, o.op, root, c); });
  if (allowed) compare(what + "reduce_local", in, [&](void* r) { return MPI_Reduce_local(other.data(), r, count, t.type, o.op); }, [&](void* r) { return PMPI_Reduce_local(other.data(), r, count, t.type, o.op); });
  compare(what + "scan", zero, [&](void* r) { return MPI_Scan(send, r, count, t.type, o.op, c); }, [&](void* r) { return PMPI_Scan(send, r, count, t.type, o.op, c); });
  compare(what + "scan in place", in, [&](void* r) { return MPI_Scan(MPI_IN_PLACE, r, count, t.type, o.op, c); }, [&](void* r) { return PMPI_Scan(MPI_IN_PLACE, r, count, t.type, o.op, c); });
  compare(what + "exscan", zero, [&](void* r) { return MPI_Exscan(send, r, count, t.type, o.op, c); }, [&](void* r) { return PMPI_Exscan(send, r, count, t.type, o.op, c); });
  compare(what + "reduce_scatter_block", zero, [&](void* r) { return MPI_Reduce_scatter_block(send, r, count, t.type, o.op, c); },
          [&](void* r) { return PMPI_Reduce_scatter_block(send, r, count, t.type, o.op, c); });
  std::vector<int> counts(static_cast<std::size_t>(n), count);
  if (n > 1) counts[0] = 0, counts[static_cast<std::size_t>(n) - 1] = count / 2;
  compare(what + "reduce_scatter", zero, [&](void* r) { return MPI_Reduce_scatter(send, r, counts.data(), t.type, o.op, c); },
          [&](void* r) { return PMPI_Reduce_scatter(send, r, counts.data(), t.type, o.op, c); });
}

}  // namespace

// Usage: pmpi_types [STRIDE]: only every so many pairs. Where ranks outnumber CPUs, MPICH takes a scheduler's tick per call.
int main(int argc, char** argv) {
  const int stride = argc > 1 ? std::atoi(argv[1]) : 1;
  int pair = 0;
  MPI_Init(&argc, &argv);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  for (const Named& t : types) {
    int bytes = 0;
    if (t.type == MPI_DATATYPE_NULL || PMPI_Type_size(t.type, &bytes) != MPI_SUCCESS || bytes <= 0) continue;  // this MPI lacks it
    const bool floating = is_one_of(t.type, {MPI_FLOAT, MPI_DOUBLE, MPI_LONG_DOUBLE, MPI_REAL, MPI_DOUBLE_PRECISION, MPI_REAL4, MPI_REAL8, MPI_REAL16});
    for (const NamedOp& o : ops) {
      // MPICH 4.0 fails an assertion here instead of returning its error.
      if (floating && is_one_of(o.op, {MPI_LAND, MPI_LOR, MPI_LXOR})) continue;
      if (pair++ % stride != 0) continue;
      for (const int count : {0, 1, 33}) check_pair(t, o, count);
    }
  }
  const int result = pmpi_test::passed();
  MPI_Finalize();
  return result;
}
