// Which instruction sets the kernels are compiled for. Include before any Highway header.
// x86: AVX-512, AVX2 and a portable fallback; SSSE3 and SSE4 only matter before 2013, and each target
// costs compile time and 400 KB of objects. Arm: NEON; the SVE targets are off because the fold keeps
// vectors in structs, which sizeless types cannot do.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
