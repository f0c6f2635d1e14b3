// The only binding file. No logic: each function takes its arguments (arguments.h checks them; kernels.py converts them),
// releases the GIL and calls a plain-pointer function of region_ops.h.
#include "arguments.h"

namespace {

using namespace lgin::arguments;
using lgin::FacePlan;
using lgin::PixelFormat;

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
                       std::uintptr_t lines, int face_size, int patch_size, int coarse_size, int line_size, int edit_format,
                       bool half, long long pixels, py::ssize_t age_step, std::uintptr_t scratch,
                       std::uintptr_t coloured, int device, std::uintptr_t stream) {
  const PixelFormat format = format_of(pixel_format);
  check_count(count);
  const lgin::Pasting what = pasting_of(count, first, faces, ages, pixels, age_step);
  check_side("face_size", face_size);
  check_side("patch_size", patch_size);
  if (flow || place) check_side("coarse_size", coarse_size);
  if (lines) check_side("line_size", line_size);
  if (lines && !place) fail("lines: expected place too");
  lgin::check_edit_format(edit_format);

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
                                       line_size,
                                       edit_format >= 4};
      lgin::cuda::launch_paste(block_at<decltype(kind)>(block, count), what, lgin::EditViews<T>{edits, edit_format >= 3},
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
           py::arg("edit_format"),
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
             py::arg("coarse_size"), py::arg("line_size"), py::arg("edit_format"),
             py::arg("half"), py::arg("pixels"), py::arg("age_step"), py::arg("scratch"), py::arg("coloured"),
             py::arg("device"), py::arg("stream"));
  module.def("launch_finite_check", &launch_finite_check, py::arg("values"), py::arg("sizes"), py::arg("found"),
             py::arg("half"), py::arg("device"), py::arg("stream"));
}
