// What the binding is given, checked as memory safety needs it: arrays, frames, faces, edits and addresses. What is wrong with an
// argument is a ValueError.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <string>
#include <tuple>

#include "region_ops.h"

namespace lgin::arguments {

namespace py = pybind11;

[[noreturn]] inline void fail(const std::string& message) { throw std::invalid_argument(message); }

inline std::string shape_of(const py::array& array) { return py::str(array.attr("shape")).cast<std::string>(); }

// ---- layout -------------------------------------------------------------------------------------------------------

inline void check_contiguous(const py::array& array, const char* name) {
  if (!(array.flags() & py::array::c_style)) fail(std::string(name) + ": expected a C-contiguous array");
}

inline void check_layout(const py::array& array, const char* name, std::initializer_list<py::ssize_t> shape) {
  bool same = array.ndim() == static_cast<py::ssize_t>(shape.size());
  std::string expected;
  py::ssize_t axis = 0;
  for (const py::ssize_t size : shape) {
    same = same && array.shape(axis) == size;
    expected += (axis ? ", " : "") + std::to_string(size);
    ++axis;
  }
  if (!same) fail(std::string(name) + ": expected shape (" + expected + "), got " + shape_of(array));
  check_contiguous(array, name);
  if (!array.attr("flags").attr("aligned").cast<bool>()) fail(std::string(name) + ": expected an aligned array");
}

// ---- dtype --------------------------------------------------------------------------------------------------------

inline const double* doubles(const py::array& array, const char* name) {
  if (!py::isinstance<py::array_t<double>>(array)) fail(std::string(name) + ": expected float64");
  return static_cast<const double*>(array.data());
}

inline bool is_half(const py::array& array) {
  return array.dtype().kind() == 'f' && array.itemsize() == 2 && array.dtype().attr("isnative").cast<bool>();
}

inline void check_float(const py::array& array, const char* name) {
  if (!is_half(array) && !py::isinstance<py::array_t<float>>(array)) {
    fail(std::string(name) + ": expected float32 or float16, got " + py::str(array.dtype()).cast<std::string>());
  }
}

// ---- frame --------------------------------------------------------------------------------------------------------

inline PixelFormat format_of(const std::string& name) {
  if (name == "rgb") return PixelFormat::rgb;
  if (name == "bgr") return PixelFormat::bgr;
  if (name == "rgba") return PixelFormat::rgba;
  if (name == "bgra") return PixelFormat::bgra;
  if (name == "nv12") return PixelFormat::nv12;
  fail("pixel_format: expected rgb, bgr, rgba, bgra or nv12, got " + name);
}

// Bytes of a packed pixel, or of Y.
inline int channels_of(PixelFormat format) {
  if (format == PixelFormat::nv12) return 1;
  return format == PixelFormat::rgb || format == PixelFormat::bgr ? 3 : 4;
}

struct AnyFrame {
  bool nv12;
  PackedFrame packed;
  Nv12Frame planes;
};

// `step` is the bytes from a channel to the next. The rows of UV follow those of Y.
inline AnyFrame frame_at(std::uint8_t* data, PixelFormat format, py::ssize_t y_stride, py::ssize_t x_stride,
                         py::ssize_t step, int height, int width) {
  const bool bgr = format == PixelFormat::bgr || format == PixelFormat::bgra;
  AnyFrame frame{};
  frame.nv12 = format == PixelFormat::nv12;
  frame.planes = Nv12Frame{data, data + y_stride * height, x_stride, y_stride, width, height};
  frame.packed = PackedFrame{data,  x_stride, y_stride, {bgr ? 2 * step : 0, step, bgr ? 0 : 2 * step}, width, height};
  return frame;
}

// A frame of `height` x `width` pixels.
inline AnyFrame frame_of(const py::array& array, PixelFormat format, int height, int width, bool write) {
  if (!py::isinstance<py::array_t<std::uint8_t>>(array)) fail("frame: expected uint8");
  if (write && !array.writeable()) fail("frame: the array is read-only");
  const bool nv12 = format == PixelFormat::nv12;
  const int channels = channels_of(format), rows = nv12 ? height / 2 * 3 : height;
  if (array.ndim() != (nv12 ? 2 : 3) || array.shape(0) != rows || array.shape(1) != width ||
      (!nv12 && array.shape(2) != channels)) {
    fail("frame: expected " + std::to_string(height) + " x " + std::to_string(width) + " pixels in the plan's format, got " +
         shape_of(array));
  }
  std::uint8_t* const data = static_cast<std::uint8_t*>(const_cast<void*>(array.data()));
  return frame_at(data, format, array.strides(0), array.strides(1), nv12 ? 0 : array.strides(2), height, width);
}

template <class F>
void with_frame(const AnyFrame& frame, const F& f) {
  if (frame.nv12) {
    f(frame.planes);
  } else {
    f(frame.packed);
  }
}

// Call f with a value of the frame's type.
template <class F>
void with_kind(PixelFormat format, const F& f) {
  if (format == PixelFormat::nv12) {
    f(Nv12Frame{});
  } else {
    f(PackedFrame{});
  }
}

// Call f with a value of the arrays' element type.
template <class F>
void with_type(bool half, const F& f) {
  if (half) {
    f(Half{});
  } else {
    f(float{});
  }
}

// ---- faces --------------------------------------------------------------------------------------------------------

inline void check_count(py::ssize_t count) {
  if (count < 0 || count > 1 << 20) fail("count: expected 0 to 2^20 faces, got " + std::to_string(count));
}

inline void check_threads(int threads) {
  if (threads < 1 || threads > 1024) {
    fail("threads: expected a whole number from 1 to 1024, got " + std::to_string(threads));
  }
}

inline void check_side(const char* name, int side) {
  if (side < 1 || side > lgin::kMaxViewSide) {
    fail(std::string(name) + ": expected a whole number of pixels from 1 to " + std::to_string(lgin::kMaxViewSide) +
         ", got " + std::to_string(side));
  }
}

inline FacePlan plan_of(const py::array& affines, const py::array& boxes, const py::array& strengths, int face_size,
                        int patch_size, double face_taper, double region_taper, const std::array<double, 4>& face_box,
                        int edit_format, int height, int width, const std::string& pixel_format) {
  if (affines.ndim() != 3) fail("affines: expected shape (N, 2, 3), got " + shape_of(affines));
  const py::ssize_t count = affines.shape(0);
  check_count(count);
  check_layout(affines, "affines", {count, 2, 3});
  check_layout(boxes, "boxes", {count, lgin::kRegions, 4});
  check_layout(strengths, "strengths", {count});
  const lgin::Faces faces{doubles(affines, "affines"), doubles(boxes, "boxes"), static_cast<int>(count),
                          doubles(strengths, "strengths")};
  const lgin::ViewSpec spec{face_size,    patch_size, face_taper,
                            region_taper, {face_box[0], face_box[1], face_box[2], face_box[3]},
                            edit_format};
  const PixelFormat format = format_of(pixel_format);
  const py::gil_scoped_release release;
  return FacePlan(faces, spec, height, width, format);
}

struct ViewSizes {
  int face, patch;
};

// The views of a plan's faces.
inline ViewSizes check_views(const py::array& face, const py::array& patches, const FacePlan& plan) {
  const py::ssize_t n = plan.count(), s = plan.spec().face_size, p = plan.spec().patch_size;
  check_layout(face, "face", {n, 3, s, s});
  check_layout(patches, "patches", {n, lgin::kRegions, 3, p, p});
  check_float(face, "face");
  check_float(patches, "patches");
  if (is_half(face) != is_half(patches)) fail("face, patches: expected the same dtype");
  return ViewSizes{plan.spec().face_size, plan.spec().patch_size};
}

// Edits by their arrays; flow, place and lines may be None.
struct EditArrays {
  bool half;
  const void *face, *patches, *flow, *place, *lines;
  int coarse_size, line_size;

  template <class T>
  lgin::EditViews<T> views(const lgin::ViewSpec& spec) const {
    const auto as = [](const void* p) { return static_cast<const T*>(p); };
    return lgin::EditViews<T>{{as(face), as(patches), as(flow), as(place), as(lines), spec.face_size, spec.patch_size,
                               coarse_size, line_size, spec.lines_keep_colour()},
                              spec.edits_first()};
  }
};

inline EditArrays edits_of(const FacePlan& plan, const py::array& face, const py::array& patches,
                           const std::optional<py::array>& flow, const std::optional<py::array>& place,
                           const std::optional<py::array>& lines) {
  const py::ssize_t n = plan.count(), s = plan.spec().face_size, p = plan.spec().patch_size;
  check_layout(face, "face_edit", {n, 6, s, s});
  check_layout(patches, "patch_edit", {n, lgin::kRegions, 4, p, p});
  check_float(face, "face_edit");
  const bool half = is_half(face);
  py::ssize_t coarse = 0, texture = 0;
  const auto side_of = [](const py::array& array, const char* name) {
    const py::ssize_t side = array.ndim() ? array.shape(array.ndim() - 1) : 0;
    if (side < 1 || side > lgin::kMaxViewSide) fail(std::string(name) + ": expected a side of 1 to 4096");
    return side;
  };
  const auto check_like = [&](const py::array& array, const char* name) {
    check_float(array, name);
    if (is_half(array) != half) fail(std::string(name) + ": expected the dtype of face_edit");
  };
  check_like(patches, "patch_edit");
  if (flow) {
    coarse = side_of(*flow, "flow");
    check_layout(*flow, "flow", {n, 2, coarse, coarse});
    check_like(*flow, "flow");
  }
  if (place) {
    if (!flow) coarse = side_of(*place, "place");
    check_layout(*place, "place", {n, 2, coarse, coarse});
    check_like(*place, "place");
  }
  if (lines) {
    if (!place) fail("lines: expected place too");
    texture = side_of(*lines, "lines");
    check_layout(*lines, "lines", {n, 1, texture, texture});
    check_like(*lines, "lines");
  }
  const auto data_of = [](const std::optional<py::array>& array) { return array ? array->data() : nullptr; };
  return EditArrays{half,           face.data(),    patches.data(), data_of(flow),
                    data_of(place), data_of(lines), static_cast<int>(coarse), static_cast<int>(texture)};
}

template <class T, class Pointer>
lgin::Views<T> views_of(Pointer face, Pointer patches, const ViewSizes& sizes) {
  return lgin::Views<T>{static_cast<T*>(face), static_cast<T*>(patches), sizes.face, sizes.patch};
}

// ---- device memory ------------------------------------------------------------------------------------------------

// Of a row, bytes: no frame of kMaxFrameSide rows reaches beyond what an address can say.
constexpr py::ssize_t kMaxPitch = py::ssize_t{1} << 32;

// An address that the kernels will use as one of `alignment` bytes.
template <class T>
T* pointer(std::uintptr_t address, const char* name, std::size_t alignment = sizeof(T)) {
  if (address == 0) fail(std::string(name) + ": expected an address in device memory, got null");
  if (address % alignment) {
    fail(std::string(name) + ": expected a multiple of " + std::to_string(alignment) + ", got " +
         std::to_string(address));
  }
  return reinterpret_cast<T*>(address);
}

template <class Frame>
lgin::Block<Frame> block_at(std::uintptr_t address, int count) {
  return lgin::Block<Frame>{pointer<std::uint8_t>(address, "block", lgin::kBlockAlignment), count};
}

using Corners = std::tuple<int, int, int, int>;

inline lgin::Rectangle rectangle_of(const Corners& corners, const FacePlan& plan) {
  const auto [x0, y0, x1, y1] = corners;
  const bool odd = plan.format() == PixelFormat::nv12 && (x0 % 2 || y0 % 2 || x1 % 2 || y1 % 2);
  if (x0 < 0 || y0 < 0 || x0 >= x1 || y0 >= y1 || x1 > plan.width() || y1 > plan.height() || odd) {
    fail("rectangle: expected (x0, y0, x1, y1) inside the frame of " + std::to_string(plan.height()) + " x " +
         std::to_string(plan.width()) + ", in NV12 even, got " + py::str(py::cast(corners)).cast<std::string>());
  }
  return lgin::Rectangle{x0, y0, x1, y1};
}

}  // namespace lgin::arguments
