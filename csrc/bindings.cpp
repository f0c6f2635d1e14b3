// The only binding file. No logic: each function checks its arrays in labelled groups, releases the GIL and calls a
// plain-pointer function of region_ops.h. What is wrong with an argument is a ValueError.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>

#include "region_ops.h"

namespace py = pybind11;

namespace {

using lgin::Half;
using lgin::Nv12Frame;
using lgin::PackedFrame;

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

void check_side(const char* name, py::ssize_t side) {
  if (side < 1 || side > lgin::kMaxViewSide) {
    fail(std::string(name) + ": expected 1 to " + std::to_string(lgin::kMaxViewSide) + " pixels, got " +
         std::to_string(side));
  }
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

struct AnyFrame {
  bool nv12;
  PackedFrame packed;
  Nv12Frame planes;
};

// `color` is the order of the channels, or "nv12".
AnyFrame frame_of(const py::array& array, const std::string& color, bool write) {
  if (!py::isinstance<py::array_t<std::uint8_t>>(array)) fail("frame: expected uint8");
  if (write && !array.writeable()) fail("frame: the array is read-only");
  AnyFrame frame{};
  frame.nv12 = color == "nv12";
  if (array.ndim() != (frame.nv12 ? 2 : 3)) fail("frame: wrong number of axes for color " + color);
  for (py::ssize_t axis = 0; axis < 2; ++axis) {
    if (array.shape(axis) < 1 || array.shape(axis) > lgin::kMaxFrameSide) {
      fail("frame: expected sides of 1 to " + std::to_string(lgin::kMaxFrameSide) + " pixels, got " + shape_of(array));
    }
  }
  std::uint8_t* const data = static_cast<std::uint8_t*>(const_cast<void*>(array.data()));
  const int width = static_cast<int>(array.shape(1));
  const int rows = static_cast<int>(array.shape(0));
  if (frame.nv12) {
    if (rows % 3 || width % 2) fail("frame: NV12 expects [H * 3/2, W] with even H and W, got " + shape_of(array));
    const int height = rows / 3 * 2;
    frame.planes = Nv12Frame{data,  data + array.strides(0) * height, array.strides(1), array.strides(0),
                             width, height};
    return frame;
  }
  const bool alpha = color == "rgba" || color == "bgra";
  if (!alpha && color != "rgb" && color != "bgr") fail("color: expected rgb, bgr, rgba, bgra or nv12, got " + color);
  if (array.shape(2) != (alpha ? 4 : 3)) {
    fail("frame: color " + color + " expects " + (alpha ? "4" : "3") + " channels, got " + shape_of(array));
  }
  const py::ssize_t step = array.strides(2);
  const bool bgr = color[0] == 'b';
  frame.packed = PackedFrame{data,  array.strides(1), array.strides(0), {bgr ? 2 * step : 0, step, bgr ? 0 : 2 * step},
                             width, rows};
  return frame;
}

template <class F>
void with_frame(const AnyFrame& frame, const F& f) {
  if (frame.nv12) {
    f(frame.planes);
  } else {
    f(frame.packed);
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

lgin::Faces faces_of(const py::array& affines, const py::array& boxes) {
  if (affines.ndim() != 3) fail("affines: expected shape (N, 2, 3), got " + shape_of(affines));
  const py::ssize_t count = affines.shape(0);
  if (count > 1 << 20) fail("affines: expected at most 2^20 faces, got " + std::to_string(count));
  check_layout(affines, "affines", {count, 2, 3});
  check_layout(boxes, "boxes", {count, lgin::kRegions, 4});
  const lgin::Faces faces{doubles(affines, "affines"), doubles(boxes, "boxes"), static_cast<int>(count)};
  lgin::check_faces(faces.affines, faces.boxes, faces.count);
  return faces;
}

struct ViewSizes {
  int face, patch;
};

ViewSizes check_views(const py::array& face, const py::array& patches, int count) {
  if (face.ndim() != 4) fail("face: expected shape (N, 3, S, S), got " + shape_of(face));
  if (patches.ndim() != 5) fail("patches: expected shape (N, 5, 3, P, P), got " + shape_of(patches));
  const py::ssize_t s = face.shape(3), p = patches.shape(4);
  check_side("face_size", s);
  check_side("patch_size", p);
  check_layout(face, "face", {count, 3, s, s});
  check_layout(patches, "patches", {count, lgin::kRegions, 3, p, p});
  check_float(face, "face");
  check_float(patches, "patches");
  if (is_half(face) != is_half(patches)) fail("face, patches: expected the same dtype");
  return ViewSizes{static_cast<int>(s), static_cast<int>(p)};
}

template <class T, class Pointer>
lgin::Views<T> views_of(Pointer face, Pointer patches, const ViewSizes& sizes) {
  return lgin::Views<T>{static_cast<T*>(face), static_cast<T*>(patches), sizes.face, sizes.patch};
}

// ---- operations ---------------------------------------------------------------------------------------------------

void region_crop(const py::array& frame, const std::string& color, const py::array& affines, const py::array& boxes,
                 py::array face, py::array patches, int threads, int device) {
  const AnyFrame source = frame_of(frame, color, false);
  const lgin::Faces faces = faces_of(affines, boxes);
  const ViewSizes sizes = check_views(face, patches, faces.count);
  void* const face_data = face.mutable_data();
  void* const patch_data = patches.mutable_data();
  const bool half = is_half(face);

  if (device >= 0) check_contiguous(frame, "frame");

  const py::gil_scoped_release release;
  with_frame(source, [&](const auto& f) {
    with_type(half, [&](auto type) {
      const auto views = views_of<decltype(type)>(face_data, patch_data, sizes);
      if (device < 0) {
        lgin::cpu::region_crop(f, faces, views, threads);
      } else {
        lgin::cuda::region_crop(f, faces, views, device);
      }
    });
  });
}

void region_paste(const py::array& frame, const std::string& color, const py::array& affines, const py::array& boxes,
                  const py::array& face, const py::array& patches, double face_taper, double region_taper, int threads,
                  int device) {
  const AnyFrame target = frame_of(frame, color, true);
  const lgin::Faces faces = faces_of(affines, boxes);
  const ViewSizes sizes = check_views(face, patches, faces.count);
  const lgin::Tapers tapers{face_taper, region_taper};
  lgin::check_tapers(tapers);
  const bool half = is_half(face);
  const void* const face_data = face.data();
  const void* const patch_data = patches.data();

  if (device >= 0) check_contiguous(frame, "frame");

  const py::gil_scoped_release release;
  with_frame(target, [&](const auto& f) {
    with_type(half, [&](auto type) {
      const auto views = views_of<const decltype(type)>(face_data, patch_data, sizes);
      if (device < 0) {
        lgin::cpu::region_paste(f, faces, views, tapers, threads);
      } else {
        lgin::cuda::region_paste(f, faces, views, tapers, device);
      }
    });
  });
}

void resample(const py::array& frame, const std::string& color, const py::array& affine, py::array view, int threads) {
  const AnyFrame source = frame_of(frame, color, false);
  check_layout(affine, "affine", {2, 3});
  const double* matrix = doubles(affine, "affine");
  lgin::check_affine(matrix, "affine");
  if (view.ndim() != 3) fail("view: expected shape (3, height, width), got " + shape_of(view));
  check_side("height", view.shape(1));
  check_side("width", view.shape(2));
  check_layout(view, "view", {3, view.shape(1), view.shape(2)});
  check_float(view, "view");
  const int height = static_cast<int>(view.shape(1));
  const int width = static_cast<int>(view.shape(2));
  void* const data = view.mutable_data();
  const bool half = is_half(view);

  const py::gil_scoped_release release;
  with_frame(source, [&](const auto& f) {
    with_type(half, [&](auto type) {
      lgin::cpu::resample(f, matrix, static_cast<decltype(type)*>(data), height, width, threads);
    });
  });
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() = "Kernels of lgin-edge. Private: call lgin_edge._ops.";
  module.attr("version") = LGIN_VERSION;
  module.attr("cuda_built") = lgin::cuda::built();
  module.def("cuda_device_count", &lgin::cuda::device_count);
  module.def("region_crop", &region_crop, py::arg("frame"), py::arg("color"), py::arg("affines"), py::arg("boxes"),
             py::arg("face"), py::arg("patches"), py::arg("threads"), py::arg("device"));
  module.def("region_paste", &region_paste, py::arg("frame"), py::arg("color"), py::arg("affines"), py::arg("boxes"),
             py::arg("face"), py::arg("patches"), py::arg("face_taper"), py::arg("region_taper"), py::arg("threads"),
             py::arg("device"));
  module.def("resample", &resample, py::arg("frame"), py::arg("color"), py::arg("affine"), py::arg("view"),
             py::arg("threads"));
}
