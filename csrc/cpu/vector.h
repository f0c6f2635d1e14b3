// Colours as vectors of four floats (GCC and Clang's vector extension: SSE on x86, NEON on ARM). Each lane does what the
// shared headers do with Rgb, so the results are the same to the bit.
#pragma once

#include <cstring>

#include "sampling.h"

namespace lgin::cpu {

typedef float Color4 __attribute__((vector_size(16)));
typedef std::int32_t Int4 __attribute__((vector_size(16)));

// Four bytes as they lie in memory to four floats. Two interleavings with zeros, which compilers turn into one
// instruction each (a vector conversion from bytes they take apart into scalars).
inline Color4 widen(std::uint32_t four) {
  typedef std::uint32_t Words __attribute__((vector_size(16)));
  typedef std::uint16_t Shorts __attribute__((vector_size(16)));
  typedef std::uint8_t Bytes __attribute__((vector_size(16)));
  const Bytes bytes = reinterpret_cast<Bytes>(Words{four, 0, 0, 0});
#if defined(__clang__)
  const Bytes wider = __builtin_shufflevector(bytes, Bytes{}, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const Shorts shorts = reinterpret_cast<Shorts>(wider);
  const Int4 ints = reinterpret_cast<Int4>(__builtin_shufflevector(shorts, Shorts{}, 0, 8, 1, 9, 2, 10, 3, 11));
#else
  const Bytes wider = __builtin_shuffle(bytes, Bytes{}, Bytes{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});
  const Shorts shorts = reinterpret_cast<Shorts>(wider);
  const Int4 ints = reinterpret_cast<Int4>(__builtin_shuffle(shorts, Shorts{}, Shorts{0, 8, 1, 9, 2, 10, 3, 11}));
#endif
  return __builtin_convertvector(ints, Color4);
}

// changed_byte, four at a time and without a branch (a scalar clamp mispredicts wherever a picture is near black or white).
inline Int4 changed_bytes(const Int4& bytes, const Color4& change) {
  const Color4 zero{}, most = zero + 255.0f;
  const Color4 valid = change == change ? change : zero;
  Color4 x = __builtin_convertvector(bytes, Color4) + valid;
  x = x > zero ? x : zero;
  x = x < most ? x : most;
  return __builtin_convertvector(x + 0.5f, Int4);
}

// A packed frame with neighbouring channels, read four bytes at a time. The fourth byte is not used; it belongs to this
// pixel or to its neighbour in memory, so only samples that keep a pixel's distance from the border may be read this way.
struct VectorFrame : PackedFrame {
  using Color = Color4;
  int lane_r, lane_b;

  static bool fits(const PackedFrame& frame) {
    const std::ptrdiff_t step = frame.offset[1] - frame.offset[0];
    return (step == 1 || step == -1) && frame.offset[2] - frame.offset[1] == step && frame.x_stride != 0;
  }
  explicit VectorFrame(const PackedFrame& frame) : PackedFrame(frame) {
    lane_r = frame.offset[0] < frame.offset[2] ? 0 : 2;
    lane_b = 2 - lane_r;
    first = offset[1] - 1;
  }

  Color4 pixel(int y, int x) const {
    std::uint32_t bytes;
    std::memcpy(&bytes, address(y, x) + first, sizeof bytes);
    return widen(bytes);
  }
  Rgb rgb(const Color4& color) const { return Rgb{color[lane_r], color[1], color[lane_b]}; }

 private:
  std::ptrdiff_t first;
};

}  // namespace lgin::cpu
