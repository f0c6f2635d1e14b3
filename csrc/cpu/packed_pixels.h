// Pixels of a packed frame as vectors: where they lie, and in a copy of a part of the frame.
#pragma once

#include <algorithm>
#include <memory>

#include "parallel.h"
#include "views.h"

namespace lgin::cpu {
namespace {

// How the three channels of a packed frame are loaded into lanes and stored.
struct PackedTarget {
  std::ptrdiff_t r, g, b;
  Order order;

  Color4 load(const std::uint8_t* p) const {
    if (order == Order::other) return Color4{float(p[r]), float(p[g]), float(p[b]), 0.0f};
    const std::uint8_t* const q = p + g - 1;
    return widen(static_cast<std::uint32_t>(q[0] | q[1] << 8 | q[2] << 16));
  }
  void store(std::uint8_t* p, const Int4& bytes) const {
    std::uint8_t* const q = p + g - 1;
    (order == Order::other ? p[r] : q[0]) = static_cast<std::uint8_t>(bytes[0]);
    (order == Order::other ? p[g] : q[1]) = static_cast<std::uint8_t>(bytes[1]);
    (order == Order::other ? p[b] : q[2]) = static_cast<std::uint8_t>(bytes[2]);
  }
};

// A copy of a part of a packed frame. A pixel is four floats.
class Snapshot {
 public:
  void reserve(std::size_t count) { pixels_.reset(new Texel[count]); }

  // `copy(y, x)` gives a pixel of the frame of `height` x `width`. What of the part lies beyond it is not there yet.
  template <class Copy>
  void take(const Rectangle& part, int height, int width, int threads, const Copy& copy) {
    part_ = part;
    within_ = Rectangle{std::max(part.x0, 0), std::max(part.y0, 0), std::min(part.x1, width), std::min(part.y1, height)};
    parallel_for(within_.height(), 64, threads, [&](int begin, int end, int) {
      for (int y = within_.y0 + begin; y < within_.y0 + end; ++y) {
        Texel* const row = pixel(y, 0);
        for (int x = within_.x0; x < within_.x1; ++x) row[x] = copy(y, x);
      }
    });
  }
  // Replicate the frame's border beyond it.
  void replicate() {
    for (int y = within_.y0; y < within_.y1; ++y) {
      std::fill(pixel(y, part_.x0), pixel(y, within_.x0), *pixel(y, within_.x0));
      std::fill(pixel(y, within_.x1), pixel(y, part_.x1), *pixel(y, within_.x1 - 1));
    }
    const int first = within_.y0, last = within_.y1 - 1;
    for (int y = part_.y0; y < first; ++y) std::copy_n(pixel(first, part_.x0), stride(), pixel(y, part_.x0));
    for (int y = last + 1; y < part_.y1; ++y) std::copy_n(pixel(last, part_.x0), stride(), pixel(y, part_.x0));
  }

  int stride() const { return part_.width(); }
  const Texel* pixels() const { return pixels_.get(); }
  Texel* pixel(int y, int x) const {
    return pixels_.get() + static_cast<std::ptrdiff_t>(y - part_.y0) * stride() + (x - part_.x0);
  }
  // Index of a pixel whose neighbours are kept too. What lies further out than the copy shows the border, as its own border
  // does.
  int index(int y, int x) const {
    return clamp_int(y - part_.y0, 2, part_.height() - 4) * part_.width() + clamp_int(x - part_.x0, 2, part_.width() - 4);
  }

 private:
  std::unique_ptr<Texel[]> pixels_;
  Rectangle part_{}, within_{};
};

}  // namespace
}  // namespace lgin::cpu
