// The only binding file. No logic: each function checks what memory safety needs (kernels.py converts the arguments),
// releases the GIL and calls a plain-pointer function of region_ops.h. What is wrong with an argument is a ValueError.
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

namespace py = pybind11;

namespace {

using lgin::FacePlan;
using lgin::Half;
using lgin::Nv12Frame;
using lgin::PackedFrame;
using lgin::PixelFormat;

[[noreturn]] void fail(const std::string& message) { throw std::invalid_argument(message); }

std::string shape_of(const py::array& array) { return py::str(array.attr("shape")).cast<std::string>(); }

// ---- layout -------------------------------------------------------------------------------------------------------

void check_contiguous(const py::array& array, const char* name) {
  if (!(array.flags() & py::array::c_style)) fail(std::string(name) + ": expected a C-contiguous array");
}

void check_layout(const py::array& array, const char* name, std::initializer_list<py::ssize_t> shape) {
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

const double* doubles(const py::array& array, const char* name) {
  if (!py::isinstance<py::array_t<double>>(array)) fail(std::string(name) + ": expected float64");
  return static_cast<const double*>(array.data());
}

bool is_half(const py::array& array) {
  return array.dtype().kind() == 'f' && array.itemsize() == 2 && array.dtype().attr("isnative").cast<bool>();
}

void check_float(const py::array& array, const char* name) {
  if (!is_half(array) && !py::isinstance<py::array_t<float>>(array)) {
    fail(std::string(name) + ": expected float32 or float16, got " + py::str(array.dtype()).cast<std::string>());
  }
}

// ---- frame --------------------------------------------------------------------------------------------------------

PixelFormat format_of(const std::string& name) {
  if (name == "rgb") return PixelFormat::rgb;
  if (name == "bgr") return PixelFormat::bgr;
  if (name == "rgba") return PixelFormat::rgba;
  if (name == "bgra") return PixelFormat::bgra;
  if (name == "nv12") return PixelFormat::nv12;
  fail("pixel_format: expected rgb, bgr, rgba, bgra or nv12, got " + name);
}

// Bytes of a packed pixel, or of Y.
int channels_of(PixelFormat format) {
  if (format == PixelFormat::nv12) return 1;
  return format == PixelFormat::rgb || format == PixelFormat::bgr ? 3 : 4;
}

struct AnyFrame {
  bool nv12;
  PackedFrame packed;
  Nv12Frame planes;
};

// `step` is the bytes from a channel to the next. The rows of UV follow those of Y.
AnyFrame frame_at(std::uint8_t* data, PixelFormat format, py::ssize_t y_stride, py::ssize_t x_stride, py::ssize_t step,
                  int height, int width) {
  const bool bgr = format == PixelFormat::bgr || format == PixelFormat::bgra;
  AnyFrame frame{};
  frame.nv12 = format == PixelFormat::nv12;
  frame.planes = Nv12Frame{data, data + y_stride * height, x_stride, y_stride, width, height};
  frame.packed = PackedFrame{data,  x_stride, y_stride, {bgr ? 2 * step : 0, step, bgr ? 0 : 2 * step}, width, height};
  return frame;
}

// A frame of `height` x `width` pixels.
AnyFrame frame_of(const py::array& array, PixelFormat format, int height, int width, bool write) {
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

void check_count(py::ssize_t count) {
  if (count < 0 || count > 1 << 20) fail("count: expected 0 to 2^20 faces, got " + std::to_string(count));
}

void check_threads(int threads) {
  if (threads < 1 || threads > 1024) {
    fail("threads: expected a whole number from 1 to 1024, got " + std::to_string(threads));
  }
}

void check_side(const char* name, int side) {
  if (side < 1 || side > lgin::kMaxViewSide) {
    fail(std::string(name) + ": expected a whole number of pixels from 1 to " + std::to_string(lgin::kMaxViewSide) +
         ", got " + std::to_string(side));
  }
}

FacePlan plan_of(const py::array& affines, const py::array& boxes, const py::array& strengths, int face_size,
                 int patch_size, double face_taper, double region_taper, const std::array<double, 4>& face_box,
                 int height, int width, const std::string& pixel_format) {
  if (affines.ndim() != 3) fail("affines: expected shape (N, 2, 3), got " + shape_of(affines));
  const py::ssize_t count = affines.shape(0);
  check_count(count);
  check_layout(affines, "affines", {count, 2, 3});
  check_layout(boxes, "boxes", {count, lgin::kRegions, 4});
  check_layout(strengths, "strengths", {count});
  const lgin::Faces faces{doubles(affines, "affines"), doubles(boxes, "boxes"), static_cast<int>(count),
                          doubles(strengths, "strengths")};
  const lgin::ViewSpec spec{face_size,    patch_size, face_taper,
                            region_taper, {face_box[0], face_box[1], face_box[2], face_box[3]}};
  const PixelFormat format = format_of(pixel_format);
  const py::gil_scoped_release release;
  return FacePlan(faces, spec, height, width, format);
}

struct ViewSizes {
  int face, patch;
};

// The views of a plan's faces.
ViewSizes check_views(const py::array& face, const py::array& patches, const FacePlan& plan) {
  const py::ssize_t n = plan.count(), s = plan.spec().face_size, p = plan.spec().patch_size;
  check_layout(face, "face", {n, 3, s, s});
  check_layout(patches, "patches", {n, lgin::kRegions, 3, p, p});
  check_float(face, "face");
  check_float(patches, "patches");
  if (is_half(face) != is_half(patches)) fail("face, patches: expected the same dtype");
  return ViewSizes{plan.spec().face_size, plan.spec().patch_size};
}

// Edits of format 2 by their arrays; flow, place and lines may be None.
struct EditArrays {
  bool half;
  const void *face, *patches, *flow, *place, *lines;
  int coarse_size, line_size;

  template <class T>
  lgin::EditViews<T> views(const lgin::ViewSpec& spec) const {
    const auto as = [](const void* p) { return static_cast<const T*>(p); };
    return lgin::EditViews<T>{{as(face), as(patches), as(flow), as(place), as(lines), spec.face_size, spec.patch_size,
                               coarse_size, line_size}};
  }
};

EditArrays edits_of(const FacePlan& plan, const py::array& face, const py::array& patches,
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

lgin::Rectangle rectangle_of(const Corners& corners, const FacePlan& plan) {
  const auto [x0, y0, x1, y1] = corners;
  const bool odd = plan.format() == PixelFormat::nv12 && (x0 % 2 || y0 % 2 || x1 % 2 || y1 % 2);
  if (x0 < 0 || y0 < 0 || x0 >= x1 || y0 >= y1 || x1 > plan.width() || y1 > plan.height() || odd) {
    fail("rectangle: expected (x0, y0, x1, y1) inside the frame of " + std::to_string(plan.height()) + " x " +
         std::to_string(plan.width()) + ", in NV12 even, got " + py::str(py::cast(corners)).cast<std::string>());
  }
  return lgin::Rectangle{x0, y0, x1, y1};
}

// ---- operations ---------------------------------------------------------------------------------------------------

void region_crop(const FacePlan& plan, const py::array& frame, py::array face, py::array patches, int threads,
                 int device) {
  const AnyFrame source = frame_of(frame, plan.format(), plan.height(), plan.width(), false);
  const ViewSizes sizes = check_views(face, patches, plan);
  void* const face_data = face.mutable_data();
  void* const patch_data = patches.mutable_data();
  const bool half = is_half(face);
  check_threads(threads);
  if (device >= 0) check_contiguous(frame, "frame");

  const py::gil_scoped_release release;
  with_frame(source, [&](const auto& f) {
    with_type(half, [&](auto type) {
      const auto views = views_of<decltype(type)>(face_data, patch_data, sizes);
      if (device < 0) {
        lgin::cpu::region_crop(f, plan, views, threads);
      } else {
        lgin::cuda::region_crop(f, plan, views, device);
      }
    });
  });
}

void region_paste(const FacePlan& plan, const py::array& frame, const py::array& face, const py::array& patches,
                  int threads, int device) {
  const AnyFrame target = frame_of(frame, plan.format(), plan.height(), plan.width(), true);
  const ViewSizes sizes = check_views(face, patches, plan);
  const bool half = is_half(face);
  const void* const face_data = face.data();
  const void* const patch_data = patches.data();
  check_threads(threads);
  if (device >= 0) check_contiguous(frame, "frame");

  const py::gil_scoped_release release;
  with_frame(target, [&](const auto& f) {
    with_type(half, [&](auto type) {
      const auto views = views_of<const decltype(type)>(face_data, patch_data, sizes);
      if (device < 0) {
        lgin::cpu::region_paste(f, plan, views, threads);
      } else {
        lgin::cuda::region_paste(f, plan, views, device);
      }
    });
  });
}

void edit_paste(const FacePlan& plan, const py::array& frame, const py::array& face, const py::array& patches,
                const std::optional<py::array>& flow, const std::optional<py::array>& place,
                const std::optional<py::array>& lines, int threads, int device) {
  const AnyFrame target = frame_of(frame, plan.format(), plan.height(), plan.width(), true);
  const EditArrays edits = edits_of(plan, face, patches, flow, place, lines);
  check_threads(threads);
  if (device >= 0) check_contiguous(frame, "frame");

  const py::gil_scoped_release release;
  with_frame(target, [&](const auto& f) {
    with_type(edits.half, [&](auto type) {
      const auto views = edits.views<decltype(type)>(plan.spec());
      if (device < 0) {
        lgin::cpu::region_paste(f, plan, views, threads);
      } else {
        lgin::cuda::region_paste(f, plan, views, device);
      }
    });
  });
}

void resample(const py::array& frame, const std::string& pixel_format, const py::array& affine, py::array view,
              int threads) {
  const PixelFormat format = format_of(pixel_format);
  if (frame.ndim() < 2) fail("frame: expected two axes or three, got " + shape_of(frame));
  for (py::ssize_t axis = 0; axis < 2; ++axis) {
    if (frame.shape(axis) < 1 || frame.shape(axis) > lgin::kMaxFrameSide) {
      fail("frame: expected sides of 1 to " + std::to_string(lgin::kMaxFrameSide) + " pixels, got " + shape_of(frame));
    }
  }
  const int rows = static_cast<int>(frame.shape(0)), columns = static_cast<int>(frame.shape(1));
  const bool nv12 = format == PixelFormat::nv12;
  if (nv12 && (rows % 3 || columns % 2)) {
    fail("frame: NV12 expects [H * 3/2, W] with even H and W, got " + shape_of(frame));
  }
  const AnyFrame source = frame_of(frame, format, nv12 ? rows / 3 * 2 : rows, columns, false);
  check_layout(affine, "affine", {2, 3});
  const double* matrix = doubles(affine, "affine");
  lgin::check_affine(matrix, "affine");
  if (view.ndim() != 3) fail("view: expected shape (3, height, width), got " + shape_of(view));
  check_layout(view, "view", {3, view.shape(1), view.shape(2)});
  check_float(view, "view");
  const int height = static_cast<int>(std::min<py::ssize_t>(view.shape(1), lgin::kMaxViewSide + 1));
  const int width = static_cast<int>(std::min<py::ssize_t>(view.shape(2), lgin::kMaxViewSide + 1));
  check_side("height", height);
  check_side("width", width);
  check_threads(threads);
  void* const data = view.mutable_data();
  const bool half = is_half(view);

  const py::gil_scoped_release release;
  with_frame(source, [&](const auto& f) {
    with_type(half, [&](auto type) {
      lgin::cpu::resample(f, matrix, static_cast<decltype(type)*>(data), height, width, threads);
    });
  });
}

std::size_t block_size(const std::string& pixel_format, int count) {
  check_count(count);
  std::size_t size = 0;
  with_kind(format_of(pixel_format), [&](auto kind) { size = lgin::Block<decltype(kind)>::size(count); });
  return size;
}

void write_block(const FacePlan& plan, py::array block, std::uintptr_t address, py::ssize_t pitch,
                 const Corners& rectangle) {
  const lgin::Rectangle part = rectangle_of(rectangle, plan);
  const int channels = channels_of(plan.format());
  const py::ssize_t row = static_cast<py::ssize_t>(part.width()) * channels;
  if (pitch < row || pitch > kMaxPitch) {
    fail("pitch: expected at least the row's " + std::to_string(row) + " bytes and at most " + std::to_string(kMaxPitch) +
         ", got " + std::to_string(pitch));
  }
  const AnyFrame frame = frame_at(pointer<std::uint8_t>(address, "address"), plan.format(), pitch, channels, 1,
                                  part.height(), part.width());
  if (!py::isinstance<py::array_t<std::uint8_t>>(block)) fail("block: expected uint8");
  if (!block.writeable()) fail("block: the array is read-only");
  std::uint8_t* const target = static_cast<std::uint8_t*>(block.mutable_data());
  std::size_t size = 0;
  with_kind(plan.format(), [&](auto kind) { size = lgin::Block<decltype(kind)>::size(plan.count()); });
  check_layout(block, "block", {static_cast<py::ssize_t>(size)});

  const py::gil_scoped_release release;
  with_frame(frame, [&](const auto& f) { lgin::write_block(target, f, part, plan); });
}

void launch_crop(std::uintptr_t block, const std::string& pixel_format, int count, std::uintptr_t face,
                 std::uintptr_t patches, int face_size, int patch_size, bool half, int device, std::uintptr_t stream) {
  const PixelFormat format = format_of(pixel_format);
  check_count(count);
  check_side("face_size", face_size);
  check_side("patch_size", patch_size);

  const py::gil_scoped_release release;
  with_kind(format, [&](auto kind) {
    with_type(half, [&](auto type) {
      using T = decltype(type);
      const lgin::Views<T> views{pointer<T>(face, "face"), pointer<T>(patches, "patches"), face_size, patch_size};
      lgin::cuda::launch_crop(block_at<decltype(kind)>(block, count), views, device, reinterpret_cast<void*>(stream));
    });
  });
}

lgin::Pasting pasting_of(int count, int first, int faces, int ages, long long pixels, py::ssize_t age_step) {
  if (first < 0 || faces < 1 || faces > count - first) {
    fail("first, faces: expected at least one of the " + std::to_string(count) + " faces, got " + std::to_string(faces) +
         " from " + std::to_string(first) + " on");
  }
  if (ages < 1) fail("ages: expected at least 1, got " + std::to_string(ages));
  if (pixels < 1) fail("pixels: expected at least 1, got " + std::to_string(pixels));
  if (age_step < 0) fail("age_step: expected bytes, got " + std::to_string(age_step));
  return lgin::Pasting{first, faces, ages, pixels, age_step};
}

void launch_paste(std::uintptr_t block, const std::string& pixel_format, int count, int first, int faces, int ages,
                  std::uintptr_t face_edit, std::uintptr_t patch_edit, int face_size, int patch_size, bool half,
                  long long pixels, py::ssize_t age_step, int device, std::uintptr_t stream) {
  const PixelFormat format = format_of(pixel_format);
  check_count(count);
  const lgin::Pasting what = pasting_of(count, first, faces, ages, pixels, age_step);
  check_side("face_size", face_size);
  check_side("patch_size", patch_size);

  const py::gil_scoped_release release;
  with_kind(format, [&](auto kind) {
    with_type(half, [&](auto type) {
      using T = const decltype(type);
      const lgin::Views<T> residuals{pointer<T>(face_edit, "face_edit"), pointer<T>(patch_edit, "patch_edit"),
                                     face_size, patch_size};
      lgin::cuda::launch_paste(block_at<decltype(kind)>(block, count), what, residuals, device,
                               reinterpret_cast<void*>(stream));
    });
  });
}

// Addresses of all faces' edits; those of flow, place and lines may be 0.
void launch_edit_paste(std::uintptr_t block, const std::string& pixel_format, int count, int first, int faces, int ages,
                       std::uintptr_t face_edit, std::uintptr_t patch_edit, std::uintptr_t flow, std::uintptr_t place,
                       std::uintptr_t lines, int face_size, int patch_size, int coarse_size, int line_size, bool half,
                       long long pixels, py::ssize_t age_step, std::uintptr_t scratch, std::uintptr_t coloured, int device,
                       std::uintptr_t stream) {
  const PixelFormat format = format_of(pixel_format);
  check_count(count);
  const lgin::Pasting what = pasting_of(count, first, faces, ages, pixels, age_step);
  check_side("face_size", face_size);
  check_side("patch_size", patch_size);
  if (flow || place) check_side("coarse_size", coarse_size);
  if (lines) check_side("line_size", line_size);
  if (lines && !place) fail("lines: expected place too");

  const py::gil_scoped_release release;
  with_kind(format, [&](auto kind) {
    with_type(half, [&](auto type) {
      using T = decltype(type);
      const auto or_null = [](std::uintptr_t address, const char* name) {
        return address ? pointer<const T>(address, name) : nullptr;
      };
      const lgin::PlanarEdits<T> edits{pointer<const T>(face_edit, "face_edit"),
                                       pointer<const T>(patch_edit, "patch_edit"),
                                       or_null(flow, "flow"),
                                       or_null(place, "place"),
                                       or_null(lines, "lines"),
                                       face_size,
                                       patch_size,
                                       coarse_size,
                                       line_size};
      lgin::cuda::launch_paste(block_at<decltype(kind)>(block, count), what, lgin::EditViews<T>{edits},
                               pointer<std::uint8_t>(scratch, "scratch", lgin::kBlockAlignment),
                               pointer<std::uint8_t>(coloured, "coloured"), device, reinterpret_cast<void*>(stream));
    });
  });
}

void launch_finite_check(const std::vector<std::uintptr_t>& values, const std::vector<long long>& sizes,
                         std::uintptr_t found, bool half, int device, std::uintptr_t stream) {
  constexpr std::size_t most = lgin::cuda::FiniteChecks<float>::kMost;
  if (values.empty() || values.size() > most || values.size() != sizes.size()) {
    fail("values, sizes: expected 1 to " + std::to_string(most) + " of both, got " + std::to_string(values.size()) +
         " and " + std::to_string(sizes.size()));
  }

  const py::gil_scoped_release release;
  with_type(half, [&](auto type) {
    using T = decltype(type);
    lgin::cuda::FiniteChecks<T> arrays{};
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (sizes[i] < 1) fail("sizes: expected at least 1, got " + std::to_string(sizes[i]));
      arrays.values[i] = pointer<const T>(values[i], "values");
      arrays.counts[i] = sizes[i];
    }
    arrays.size = static_cast<int>(values.size());
    lgin::cuda::launch_finite_check(arrays, pointer<std::uint32_t>(found, "found"), device,
                                    reinterpret_cast<void*>(stream));
  });
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "Kernels of lgin-edge. Private: call lgin_edge.kernels.";
  module.attr("version") = LGIN_VERSION;
  module.attr("cuda_built") = lgin::cuda::built();
  module.attr("cuda_is_host") = lgin::cuda::is_host();
  module.def("cuda_device_count", &lgin::cuda::device_count);
  py::class_<FacePlan>(module, "FacePlan")
      .def(py::init(&plan_of), py::arg("affines"), py::arg("boxes"), py::arg("strengths"), py::arg("face_size"),
           py::arg("patch_size"), py::arg("face_taper"), py::arg("region_taper"), py::arg("face_box"),
           py::arg("height"), py::arg("width"), py::arg("pixel_format"))
      .def_property_readonly("rectangle",
                             [](const FacePlan& plan) {
                               const lgin::Rectangle& r = plan.rectangle();
                               return Corners{r.x0, r.y0, r.x1, r.y1};
                             })
      .def_property_readonly("disjoint", &FacePlan::disjoint)
      .def("write_block", &write_block, py::arg("block"), py::arg("address"), py::arg("pitch"), py::arg("rectangle"));
  module.def("region_crop", &region_crop, py::arg("plan"), py::arg("frame"), py::arg("face"), py::arg("patches"),
             py::arg("threads"), py::arg("device"));
  module.def("region_paste", &region_paste, py::arg("plan"), py::arg("frame"), py::arg("face"), py::arg("patches"),
             py::arg("threads"), py::arg("device"));
  module.def("edit_paste", &edit_paste, py::arg("plan"), py::arg("frame"), py::arg("face_edit"), py::arg("patch_edit"),
             py::arg("flow").none(true), py::arg("place").none(true), py::arg("lines").none(true), py::arg("threads"),
             py::arg("device"));
  module.def("resample", &resample, py::arg("frame"), py::arg("pixel_format"), py::arg("affine"), py::arg("view"),
             py::arg("threads"));
  module.def("block_size", &block_size, py::arg("pixel_format"), py::arg("count"));
  module.def("launch_crop", &launch_crop, py::arg("block"), py::arg("pixel_format"), py::arg("count"), py::arg("face"),
             py::arg("patches"), py::arg("face_size"), py::arg("patch_size"), py::arg("half"), py::arg("device"),
             py::arg("stream"));
  module.def("launch_paste", &launch_paste, py::arg("block"), py::arg("pixel_format"), py::arg("count"), py::arg("first"),
             py::arg("faces"), py::arg("ages"), py::arg("face_edit"), py::arg("patch_edit"), py::arg("face_size"),
             py::arg("patch_size"), py::arg("half"), py::arg("pixels"), py::arg("age_step"), py::arg("device"),
             py::arg("stream"));
  module.def("launch_edit_paste", &launch_edit_paste, py::arg("block"), py::arg("pixel_format"), py::arg("count"),
             py::arg("first"), py::arg("faces"), py::arg("ages"), py::arg("face_edit"), py::arg("patch_edit"),
             py::arg("flow"), py::arg("place"), py::arg("lines"), py::arg("face_size"), py::arg("patch_size"),
             py::arg("coarse_size"), py::arg("line_size"), py::arg("half"), py::arg("pixels"), py::arg("age_step"),
             py::arg("scratch"), py::arg("coloured"), py::arg("device"), py::arg("stream"));
  module.def("launch_finite_check", &launch_finite_check, py::arg("values"), py::arg("sizes"), py::arg("found"),
             py::arg("half"), py::arg("device"), py::arg("stream"));
}
