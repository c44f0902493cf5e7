// Movement in every layout: each rank picks its own datatype of the same signature (basic, contiguous, strided, resized,
// reversed, lower bound below zero, absolute addresses), every collective, against PMPI, gaps included.
#include "check.hpp"

namespace {

using namespace pmpi_test;

// An element of every layout holds two ints, in this order of the signature; what varies is where they lie.
struct Layout {
  const char* name;
  MPI_Datatype type;
  int per_element;   // ints of the signature in one element
  MPI_Aint extent, before;  // bytes that an element reaches below its address
};
constexpr int layout_count = 8;

Layout make_layout(int kind) {
  MPI_Datatype t = MPI_INT, inner;
  MPI_Aint extent = 4, before = 0;
  int ints = 2;
  switch (kind) {
    case 0: ints = 1; break;
    case 1: MPI_Type_contiguous(2, MPI_INT, &t); extent = 8; break;
    case 2: MPI_Type_vector(2, 1, 3, MPI_INT, &t); extent = 16; break;
    case 3: MPI_Type_contiguous(2, MPI_INT, &inner), MPI_Type_create_resized(inner, 0, 20, &t), MPI_Type_free(&inner), extent = 20; break;
    case 4: {
      const int lengths[] = {1, 1}, places[] = {1, 0};  // the same bytes, the other way round
      MPI_Type_indexed(2, lengths, places, MPI_INT, &t);
      extent = 8;
      break;
    }
    case 5: {
      const int lengths[] = {1, 1}, places[] = {-2, 1};
      MPI_Type_indexed(2, lengths, places, MPI_INT, &t);
      extent = 16, before = 8;
      break;
    }
    case 6: MPI_Type_contiguous(2, MPI_INT, &inner), MPI_Type_create_resized(inner, 0, -12, &t), MPI_Type_free(&inner), extent = -12; break;
    default: MPI_Type_dup(MPI_INT, &t), ints = 1; break;
  }
  if (kind != 0) MPI_Type_commit(&t);
  static const char* const names[] = {"int", "contiguous", "vector", "resized", "reversed", "below zero", "backwards", "dup"};
  return {names[kind], t, ints, extent, before};
}

// Room for `elements` of any layout around an origin.
class Field {
 public:
  explicit Field(int salt, int elements) : bytes_(static_cast<std::size_t>(2 * 24 * (elements + 4))), origin_(24 * static_cast<std::size_t>(elements + 4)) {
    for (std::size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<unsigned char>(i * 13 + static_cast<std::size_t>(salt) * 101 + 7);
  }
  void* at() { return bytes_.data() + origin_; }
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
  std::size_t origin_;
};

// `call(run, send, recv)` makes the call with the MPI functions of one side on copies of the same fields.
template <class Call>
void compare(const std::string& what, int elements, const Call& call) {
  const int me = rank_of();
  Field send(me, elements), ours(me + 50, elements), mpis(me + 50, elements);
  if (std::getenv("PMPI_TEST_TRACE") != nullptr) std::fprintf(stderr, "rank %d: %s\n", me, what.c_str());
  const int right = call(false, send.at(), mpis.at()), got = call(true, send.at(), ours.at());
  require(right == MPI_SUCCESS && got == MPI_SUCCESS, what + ": an error");
  require_equal(ours.bytes(), mpis.bytes(), what);
}
#define EITHER(name) (ours ? MPI_##name : PMPI_##name)

struct Pick {
  const Layout &send, &recv;
  int pairs;                          // of ints in a block
  int sends() const { return pairs * 2 / send.per_element; }
  int recvs() const { return pairs * 2 / recv.per_element; }
  // On some rank: Open MPI 4.1's own gather fails then.
  bool backwards() const {
    int mine = recv.extent < 0 || send.extent < 0, any = 0;
    PMPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    return any != 0;
  }
};

void check_equal_blocks(const Pick& p, const std::string& what) {
  const MPI_Comm c = MPI_COMM_WORLD;
  const int n = size_of(), me = rank_of(), ns = p.sends(), nr = p.recvs(), room = n * p.pairs * 2;
  const MPI_Datatype st = p.send.type, rt = p.recv.type;
  for (const int root : {0, n - 1}) {
    const std::string at = what + " root " + std::to_string(root);
    compare("bcast" + at, room, [&](bool ours, void*, void* r) { return EITHER(Bcast)(r, me == root ? nr : nr, rt, root, c); });
    if (!p.backwards()) compare("gather" + at, room, [&](bool ours, void* s, void* r) { return EITHER(Gather)(s, ns, st, me == root ? r : nullptr, me == root ? nr : -1, me == root ? rt : MPI_DATATYPE_NULL, root, c); });
    if (!p.backwards()) compare("gather in place" + at, room, [&](bool ours, void* s, void* r) { return EITHER(Gather)(me == root ? MPI_IN_PLACE : s, ns, st, r, nr, rt, root, c); });
    compare("scatter" + at, room, [&](bool ours, void* s, void* r) { return EITHER(Scatter)(me == root ? s : nullptr, me == root ? ns : -1, me == root ? st : MPI_DATATYPE_NULL, r, nr, rt, root, c); });
    compare("scatter in place" + at, room, [&](bool ours, void* s, void* r) { return EITHER(Scatter)(s, ns, st, me == root ? MPI_IN_PLACE : r, nr, rt, root, c); });
  }
  if (!p.backwards()) compare("allgather" + what, room, [&](bool ours, void* s, void* r) { return EITHER(Allgather)(s, ns, st, r, nr, rt, c); });
  if (!p.backwards()) compare("allgather in place" + what, room, [&](bool ours, void*, void* r) { return EITHER(Allgather)(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, r, nr, rt, c); });
  compare("alltoall" + what, room, [&](bool ours, void* s, void* r) { return EITHER(Alltoall)(s, ns, st, r, nr, rt, c); });
  compare("alltoall in place" + what, room, [&](bool ours, void*, void* r) { return EITHER(Alltoall)(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, r, nr, rt, c); });
}

// Blocks of 0, 1, 2, ... pairs, placed from the highest rank down; the places start below the buffer's address.
void check_own_blocks(const Pick& p, const std::string& what) {
  const MPI_Comm c = MPI_COMM_WORLD;
  const int n = size_of(), me = rank_of(), room = n * 14;
  const MPI_Datatype st = p.send.type, rt = p.recv.type;
  const auto pairs_of = [&](int r) { return (r + p.pairs) % 4; };
  const auto per = [](const Layout& l) { return 2 / l.per_element; };
  std::vector<int> sc, sd, rc, rd, to, to_at, from, from_at;
  for (int r = 0; r < n; ++r) {
    sc.push_back(pairs_of(r) * per(p.send)), rc.push_back(pairs_of(r) * per(p.recv));
    sd.push_back((n - 1 - r) * 7 - 3), rd.push_back((n - 1 - r) * 7 - 3);
    to.push_back(pairs_of(r + me) * per(p.send)), from.push_back(pairs_of(r + me) * per(p.recv));
    to_at.push_back((n - 1 - r) * 7 - 3), from_at.push_back(r * 7);
  }
  const auto mine = static_cast<std::size_t>(me);
  for (const int root : {0, n - 1}) {
    const std::string at = what + " root " + std::to_string(root);
    const bool am_root = me == root;
    compare("gatherv" + at, room, [&](bool ours, void* s, void* r) { return EITHER(Gatherv)(s, sc[mine], st, am_root ? r : nullptr, am_root ? rc.data() : nullptr, am_root ? rd.data() : nullptr, am_root ? rt : MPI_DATATYPE_NULL, root, c); });
    compare("gatherv in place" + at, room, [&](bool ours, void* s, void* r) { return EITHER(Gatherv)(am_root ? MPI_IN_PLACE : s, sc[mine], st, r, rc.data(), rd.data(), rt, root, c); });
    compare("scatterv" + at, room, [&](bool ours, void* s, void* r) { return EITHER(Scatterv)(am_root ? s : nullptr, am_root ? sc.data() : nullptr, am_root ? sd.data() : nullptr, am_root ? st : MPI_DATATYPE_NULL, r, rc[mine], rt, root, c); });
    compare("scatterv in place" + at, room, [&](bool ours, void* s, void* r) { return EITHER(Scatterv)(s, sc.data(), sd.data(), st, am_root ? MPI_IN_PLACE : r, rc[mine], rt, root, c); });
  }
  compare("allgatherv" + what, room, [&](bool ours, void* s, void* r) { return EITHER(Allgatherv)(s, sc[mine], st, r, rc.data(), rd.data(), rt, c); });
  compare("allgatherv in place" + what, room, [&](bool ours, void*, void* r) { return EITHER(Allgatherv)(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, r, rc.data(), rd.data(), rt, c); });
  compare("alltoallv" + what, room, [&](bool ours, void* s, void* r) { return EITHER(Alltoallv)(s, to.data(), to_at.data(), st, r, from.data(), from_at.data(), rt, c); });
  compare("alltoallv in place" + what, room, [&](bool ours, void*, void* r) { return EITHER(Alltoallv)(MPI_IN_PLACE, nullptr, nullptr, MPI_DATATYPE_NULL, r, from.data(), from_at.data(), rt, c); });
}

// Each peer's block has a layout of its own, on both sides. Block r of rank s is of (r + s) % 3 pairs, as both know.
void check_own_types(const std::vector<Layout>& layouts, int shift) {
  const MPI_Comm c = MPI_COMM_WORLD;
  const int n = size_of(), me = rank_of(), room = n * 14;
  std::vector<int> to, from, to_at, from_at;
  std::vector<MPI_Datatype> out, in;
  for (int r = 0; r < n; ++r) {
    const auto& s = layouts[static_cast<std::size_t>((r + me * 3 + shift) % layout_count)];
    const auto& t = layouts[static_cast<std::size_t>((r * 5 + me + shift) % layout_count)];
    const int pairs = (r + me + shift) % 3;
    to.push_back(pairs * 2 / s.per_element), from.push_back(pairs * 2 / t.per_element);
    to_at.push_back(160 * (n / 2 - r)), from_at.push_back(160 * (r - n / 2));
    out.push_back(s.type), in.push_back(t.type);
  }
  const std::string what = "alltoallw, shift " + std::to_string(shift);
  compare(what, room, [&](bool ours, void* s, void* r) { return EITHER(Alltoallw)(s, to.data(), to_at.data(), out.data(), r, from.data(), from_at.data(), in.data(), c); });
  for (int r = 0; r < n; ++r) {  // in place: one signature for both ranks of a pair; types that begin at their address, for Open MPI's own
    const Layout& l = layouts[static_cast<std::size_t>((r + me) % 3)];
    in[static_cast<std::size_t>(r)] = l.type;
    from[static_cast<std::size_t>(r)] = 2 * ((r + me) % 3) / l.per_element;
  }
  compare(what + " in place", room, [&](bool ours, void*, void* r) { return EITHER(Alltoallw)(MPI_IN_PLACE, nullptr, nullptr, nullptr, r, from.data(), from_at.data(), in.data(), c); });
#if MPI_VERSION >= 4
  const std::vector<MPI_Count> long_to(to.begin(), to.end()), long_from(from.begin(), from.end());
  const std::vector<MPI_Aint> long_to_at(to_at.begin(), to_at.end()), long_from_at(from_at.begin(), from_at.end());
  compare(what + " in place, large counts", room, [&](bool ours, void*, void* r) { return EITHER(Alltoallw_c)(MPI_IN_PLACE, nullptr, nullptr, nullptr, r, long_from.data(), long_from_at.data(), in.data(), c); });
#endif
}

// A type of absolute addresses, from MPI_BOTTOM, on one rank and plain ints on the others.
void check_bottom() {
  int values[3] = {rank_of() + 1, rank_of() + 2, rank_of() + 3};
  const int lengths[] = {1, 1};
  MPI_Aint places[2];
  MPI_Get_address(&values[2], &places[0]);
  MPI_Get_address(&values[0], &places[1]);
  MPI_Datatype t;
  MPI_Type_create_hindexed(2, lengths, places, MPI_INT, &t);
  MPI_Type_commit(&t);
  if (rank_of() == 0) MPI_Bcast(MPI_BOTTOM, 1, t, 0, MPI_COMM_WORLD);
  else MPI_Bcast(values, 2, MPI_INT, 0, MPI_COMM_WORLD);
  if (rank_of() != 0) require(values[0] == 3 && values[1] == 1, "bcast from MPI_BOTTOM");
  MPI_Type_free(&t);
  // A handle that is used again must not find what was known of the old one.
  for (int stride = 2; stride < 6; ++stride) {
    int v[12] = {}, got[4] = {};
    for (int i = 0; i < 12; ++i) v[i] = i;
    MPI_Type_vector(2, 1, stride, MPI_INT, &t);
    MPI_Type_commit(&t);
    if (rank_of() == 0) MPI_Bcast(v, 1, t, 0, MPI_COMM_WORLD);
    else MPI_Bcast(got, 2, MPI_INT, 0, MPI_COMM_WORLD);
    if (rank_of() != 0) require(got[1] == stride, "bcast of a type whose handle was used before");
    MPI_Type_free(&t);
  }
  MPI_Type_contiguous(0, MPI_INT, &t);  // nothing at all
  MPI_Type_commit(&t);
  require(MPI_Bcast(nullptr, 5, t, 0, MPI_COMM_WORLD) == MPI_SUCCESS, "bcast of an empty type");
  MPI_Type_free(&t);
}

}  // namespace

// Usage: pmpi_shapes [STRIDE]: only every so many combinations.
int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  const int stride = argc > 1 ? std::atoi(argv[1]) : 1;
  std::vector<Layout> layouts;
  for (int k = 0; k < layout_count; ++k) layouts.push_back(make_layout(k));
  const auto pick = [&](int k) -> const Layout& { return layouts[static_cast<std::size_t>(k % layout_count)]; };
  int combination = 0;
  for (int k = 0; k < layout_count; ++k)
    for (int shift = 0; shift < 3; ++shift)
      for (const int pairs : {0, 1, 3}) {
        if (combination++ % stride != 0) continue;
        // Every rank another layout, another one for sending than for receiving.
        const Pick p{pick(k + shift * rank_of()), pick(k + 3 + 5 * shift * rank_of()), pairs};
        const std::string what = std::string(" of ") + p.send.name + " into " + p.recv.name + ", " + std::to_string(pairs) + " pairs,";
        check_equal_blocks(p, what);
        check_own_blocks(p, what);
      }
  for (int shift = 0; shift < layout_count; ++shift) check_own_types(layouts, shift);
  check_bottom();
  for (Layout& l : layouts)
    if (l.type != MPI_INT) MPI_Type_free(&l.type);
  const int result = passed();
  MPI_Finalize();
  return result;
}
