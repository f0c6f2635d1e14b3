// A fuzzer's bytes as arguments of the kernels: frames of any strides in memory of exactly their size (AddressSanitizer sees
// one byte too far), faces, views. What the bytes no longer give is 0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "region_ops.h"

// A broken promise of the kernels: ends the process, as a sanitizer's report does.
#define PROMISE(condition)                                                        \
  do {                                                                            \
    if (!(condition)) {                                                           \
      std::fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                               \
    }                                                                             \
  } while (false)

namespace fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  bool empty() const { return left_ == 0; }

  template <class T>
  T raw() {
    T value{};
    const std::size_t bytes = std::min(sizeof(T), left_);
    std::memcpy(&value, data_, bytes);
    data_ += bytes;
    left_ -= bytes;
    return value;
  }
  // low to high, both included.
  int whole(int low, int high) {
    const std::uint32_t span = static_cast<std::uint32_t>(high - low) + 1;
    const std::uint32_t value = span <= 256 ? raw<std::uint8_t>() : raw<std::uint32_t>();
    return low + static_cast<int>(value % span);
  }
  bool flag() { return raw<std::uint8_t>() & 1; }
  // 16 bits over a range; far denser than raw doubles where the kernels have something to do.
  double real(double low, double high) { return low + (high - low) * raw<std::uint16_t>() / 65535.0; }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

// A side in pixels, from `low` on: every power of two is as likely as the next.
inline double side(Input& in, double low, double high) { return low * std::exp2(in.real(0.0, std::log2(high / low))); }

struct FacesInput {
  std::vector<double> affines, boxes, strengths;

  lgin::Faces faces() const {
    return lgin::Faces{affines.data(), boxes.data(), static_cast<int>(strengths.size()), strengths.data()};
  }
};

// `largest` bounds the sides of the squares that are meant to be valid; raw doubles bound nothing.
inline FacesInput faces_of(Input& in, int most, double reach, double largest) {
  FacesInput faces;
  const int count = in.whole(0, most);
  for (int n = 0; n < count; ++n) {
    const int kind = in.whole(0, 15);
    if (kind == 0) {
      for (int i = 0; i < 6; ++i) faces.affines.push_back(in.raw<double>());
    } else {
      const double a = side(in, 1.0, largest), angle = in.real(-4.0, 4.0), shear = kind == 1 ? in.real(-2.0, 2.0) : 0.0;
      const double b = kind == 1 ? side(in, 1.0, largest) : a, c = std::cos(angle), s = std::sin(angle);
      const double cx = in.real(-reach, 2.0 * reach), cy = in.real(-reach, 2.0 * reach);
      const double m[4] = {a * c, -b * s + shear * c, a * s, b * c + shear * s};
      for (const double value : {m[0], m[1], cx - (m[0] + m[1]) / 2, m[2], m[3], cy - (m[2] + m[3]) / 2}) {
        faces.affines.push_back(value);
      }
    }
    for (int r = 0; r < lgin::kRegions; ++r) {
      const int how = in.whole(0, 63);
      if (how == 0) {
        for (int i = 0; i < 4; ++i) faces.boxes.push_back(in.raw<double>());
        continue;
      }
      const double high = how == 1 ? 16.0 : 1.0, low = how == 1 ? -16.0 : 0.0;
      const double x = in.real(low, high), y = in.real(low, high);
      const double w = in.real(1e-3, high), h = in.real(1e-3, high);
      for (const double value : {x, y, x + w, y + h}) faces.boxes.push_back(value);
    }
    faces.strengths.push_back(in.whole(0, 31) ? in.real(0.0, 1.0) : in.raw<double>());
  }
  return faces;
}

// Tapers and a face box; of views of these sizes.
inline lgin::ViewSpec spec_of(Input& in, int face_size, int patch_size) {
  lgin::ViewSpec spec{face_size, patch_size, in.real(1e-3, 0.5), in.real(1e-3, 0.5), {0.0, 0.0, 1.0, 1.0}};
  const int how = in.whole(0, 31);
  if (how == 0) spec.face_taper = in.raw<double>();
  if (how == 1) spec.region_taper = in.raw<double>();
  if (how == 2) {
    for (double& side : spec.face_box) side = in.raw<double>();
  } else if (how < 16) {
    spec.face_box[0] = in.real(-1.0, 1.0);
    spec.face_box[1] = in.real(-1.0, 1.0);
    spec.face_box[2] = in.real(spec.face_box[0] + 1e-3, 2.0);
    spec.face_box[3] = in.real(spec.face_box[1] + 1e-3, 2.0);
  }
  return spec;
}

// Plans made, so that a corpus can say whether it reaches any.
inline int plans = 0;

// The plan; none where arguments are refused, as the binding refuses them, before anything is done with them.
inline std::unique_ptr<lgin::FacePlan> plan_of(const lgin::Faces& faces, const lgin::ViewSpec& spec, int height,
                                               int width, bool nv12) {
  try {
    const auto format = nv12 ? lgin::PixelFormat::nv12 : lgin::PixelFormat::rgb;
    auto plan = std::make_unique<lgin::FacePlan>(faces, spec, height, width, format);
    ++plans;
    return plan;
  } catch (const std::invalid_argument&) {
    return nullptr;
  }
}

// Whether the views read more samples than an execution should take.
inline bool too_long(const lgin::FacePlan& plan, double most = 4e3) {
  double samples = 0.0;
  for (const lgin::ViewPlan& view : plan.crops()) {
    samples += static_cast<double>(view.na) * view.nb * view.width * view.height;
  }
  return samples > most;
}

// Bytes that a strided array spans, and where its first element lies in them.
struct Extent {
  std::ptrdiff_t low = 0, high = 0;

  void axis(std::ptrdiff_t stride, int length) { (stride < 0 ? low : high) += stride * (length - 1); }
  std::size_t bytes() const { return static_cast<std::size_t>(high - low) + 1; }
};

struct FrameInput {
  bool nv12;
  lgin::PackedFrame packed;
  lgin::Nv12Frame planes;
  std::vector<std::uint8_t> memory;  // exactly as long as the frame, but for vector's own allocation, which is exact too

  int width() const { return nv12 ? planes.width : packed.width; }
  int height() const { return nv12 ? planes.height : packed.height; }
};

// `dense`: C-contiguous. `apart`: no two elements share a byte (a frame that is written).
inline FrameInput frame_of(Input& in, int largest, bool dense, bool apart) {
  FrameInput frame{};
  frame.nv12 = in.flag();
  int width = in.whole(1, largest), height = in.whole(1, largest);
  if (frame.nv12) width += width % 2, height += height % 2;
  const int channels = frame.nv12 ? 1 : in.whole(3, 4);
  const int rows = frame.nv12 ? height / 2 * 3 : height;
  const bool bgr = in.flag();
  std::ptrdiff_t step = 1, x = channels, y = static_cast<std::ptrdiff_t>(channels) * width;
  if (!dense && apart) {
    x += in.whole(0, 3);
    y = x * width + in.whole(0, 5);
    if (in.flag()) step = -step;
    if (in.flag()) x = -x;
    if (in.flag()) y = -y;
  } else if (!dense) {
    step = in.whole(-3, 3);
    x = in.whole(-9, 9);
    y = in.whole(-300, 300);
  }
  Extent extent;
  extent.axis(x, width);
  extent.axis(y, rows);
  extent.axis(step, channels);
  frame.memory.resize(extent.bytes());
  frame.memory.shrink_to_fit();
  std::uint32_t noise = in.raw<std::uint32_t>() | 1;
  for (std::size_t i = 0; i < frame.memory.size(); i += sizeof noise) {
    noise = noise * 1664525u + 1013904223u;
    std::memcpy(&frame.memory[i], &noise, std::min(sizeof noise, frame.memory.size() - i));
  }
  std::uint8_t* const data = frame.memory.data() - extent.low;
  frame.planes = lgin::Nv12Frame{data, data + y * height, x, y, width, height};
  frame.packed = lgin::PackedFrame{data, x, y, {bgr ? 2 * step : 0, step, bgr ? 0 : 2 * step}, width, height};
  return frame;
}

template <class F>
void with_frame(const FrameInput& frame, const F& f) {
  if (frame.nv12) {
    f(frame.planes);
  } else {
    f(frame.packed);
  }
}

template <class T>
std::vector<T> filled(Input& in, std::size_t count) {
  std::vector<T> values(count);
  if (values.empty()) return values;
  const int kind = in.whole(0, 3);
  std::uint32_t noise = in.raw<std::uint32_t>() | 1;
  for (T& value : values) {
    noise = noise * 1664525u + 1013904223u;
    if (kind == 0) {
      std::memcpy(&value, &noise, std::min(sizeof value, sizeof noise));  // any bits: infinities, what is not a number
    } else {
      lgin::store(&value, kind == 1 ? 0.0f : static_cast<float>(noise >> 8) / 4194304.0f - 2.0f);
    }
  }
  return values;
}

}  // namespace fuzz
