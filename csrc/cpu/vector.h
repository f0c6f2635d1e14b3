// Colours as vectors of four floats (GCC and Clang's vector extension: SSE on x86, NEON on ARM). Each lane does what the
// shared headers do with Rgb, so the results are the same to the bit.
#pragma once

#include <cstdlib>
#include <cstring>

#include "sampling.h"

// Functions for AVX2 are compiled beside the others, and taken where the processor has it.
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define LGIN_AVX2 1
#include <immintrin.h>
#endif

namespace lgin::cpu {

typedef float Color4 __attribute__((vector_size(16)));
typedef std::int32_t Int4 __attribute__((vector_size(16)));

// LGIN_NO_AVX2 in the environment leaves them out; the results are the same to the bit (tests/kernels/test_kernels.py).
inline bool has_avx2() {
#if defined(LGIN_AVX2)
  static const bool has = std::getenv("LGIN_NO_AVX2") == nullptr && __builtin_cpu_supports("avx2");
  return has;
#else
  return false;
#endif
}

// Four bytes as they lie in memory to four floats. Two interleavings with zeros, which compilers turn into one
// instruction each (a vector conversion from bytes they take apart into scalars).
inline Int4 widen_to_int(std::uint32_t four) {
  typedef std::uint32_t Words __attribute__((vector_size(16)));
  typedef std::uint16_t Shorts __attribute__((vector_size(16)));
  typedef std::uint8_t Bytes __attribute__((vector_size(16)));
  const Bytes bytes = reinterpret_cast<Bytes>(Words{four, 0, 0, 0});
#if defined(__clang__)
  const Bytes wider = __builtin_shufflevector(bytes, Bytes{}, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const Shorts shorts = reinterpret_cast<Shorts>(wider);
  return reinterpret_cast<Int4>(__builtin_shufflevector(shorts, Shorts{}, 0, 8, 1, 9, 2, 10, 3, 11));
#else
  const Bytes wider = __builtin_shuffle(bytes, Bytes{}, Bytes{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});
  const Shorts shorts = reinterpret_cast<Shorts>(wider);
  return reinterpret_cast<Int4>(__builtin_shuffle(shorts, Shorts{}, Shorts{0, 8, 1, 9, 2, 10, 3, 11}));
#endif
}

inline Color4 widen(std::uint32_t four) { return __builtin_convertvector(widen_to_int(four), Color4); }

// changed_byte, four at a time and without a branch (a scalar clamp mispredicts wherever a picture is near black or white).
inline Int4 changed_bytes(const Int4& bytes, const Color4& change) {
  const Color4 zero{}, most = zero + 255.0f;
  const Color4 valid = change == change ? change : zero;
  Color4 x = __builtin_convertvector(bytes, Color4) + valid;
  x = x > zero ? x : zero;
  x = x < most ? x : most;
  return __builtin_convertvector(x + 0.5f, Int4);
}

inline Color4 load_bytes(const std::uint8_t* p) {
  std::uint32_t four;
  std::memcpy(&four, p, sizeof four);
  return widen(four);
}

}  // namespace lgin::cpu
