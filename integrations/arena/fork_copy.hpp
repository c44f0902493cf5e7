// What a child of fork gets in place of the arena, which it must not share: a copy of the live blocks, made before the
// fork in private memory and moved to their addresses afterwards. The kernel shares its pages between parent and child
// until the parent, a moment later, gives them up. Where memory does not suffice the child is told so, and a touch
// of such a block ends it; it can still run another program. vfork, posix_spawn, system and popen do not come here.
#pragma once

#include <cstddef>

#include "integrations/arena/units.hpp"

namespace libcoll::arena {

class ForkCopy {
 public:
  constexpr ForkCopy() = default;
  // Before the fork: of the first `opened` bytes of the arena at `base`.
  void make(int fd, const std::byte* base, std::size_t opened, const Units& units);
  void drop();                    // in the parent
  void install(std::byte* base);  // in the child, where nothing is mapped there
 private:
  std::byte* at_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace libcoll::arena
