// The CUDA kernels (compiled for the host, tests/cuda_on_host) on the faces' rectangle alone: a launch checks nothing, so
// write_block must have let through no rectangle that is too small. The results are the whole frame's, bit for bit.
#include "native_input.h"

namespace {

// What lies at the rectangle of a C-contiguous frame, in memory of exactly that size; and back.
struct Part {
  std::vector<std::uint8_t> memory;
  std::size_t pitch;

  template <class F>
  void rows(std::uint8_t* whole, std::size_t whole_pitch, int height, const lgin::Rectangle& r, std::size_t channels, bool nv12,
            const F& copy) {
    std::size_t row = 0;
    for (int y = r.y0; y < r.y1; ++y) {
      copy(&memory[pitch * row++], whole + static_cast<std::size_t>(y) * whole_pitch + static_cast<std::size_t>(r.x0) * channels);
    }
    for (int y = r.y0 / 2; nv12 && y < r.y1 / 2; ++y) {
      copy(&memory[pitch * row++], whole + static_cast<std::size_t>(height + y) * whole_pitch + static_cast<std::size_t>(r.x0));
    }
  }
};

lgin::PackedFrame moved(lgin::PackedFrame frame, std::uint8_t* data, std::size_t pitch, const lgin::Rectangle& r) {
  frame.data = data;
  frame.y_stride = static_cast<std::ptrdiff_t>(pitch);
  frame.width = r.width();
  frame.height = r.height();
  return frame;
}

lgin::Nv12Frame moved(lgin::Nv12Frame frame, std::uint8_t* data, std::size_t pitch, const lgin::Rectangle& r) {
  const auto step = static_cast<std::ptrdiff_t>(pitch);
  return lgin::Nv12Frame{data, data + step * r.height(), frame.x_stride, step, r.width(), r.height()};
}

template <class T>
struct Planar {
  std::vector<T> face, patches;
};

// `Chunk` is what operator new aligns a block to.
struct alignas(lgin::kBlockAlignment) Chunk {
  std::uint8_t bytes[lgin::kBlockAlignment];
};

template <class Frame>
std::vector<Chunk> block_of(const Frame& frame, const lgin::Rectangle& r, const lgin::FacePlan& plan) {
  std::vector<Chunk> block(lgin::Block<Frame>::size(plan.count()) / sizeof(Chunk) + 1);
  lgin::write_block(block.data()->bytes, frame, r, plan);
  return block;
}

template <class T, class Frame>
Planar<T> crop(std::vector<Chunk>& block, const lgin::FacePlan& plan, const Frame&) {
  const std::size_t count = static_cast<std::size_t>(plan.count());
  const int face_size = plan.spec().face_size, patch_size = plan.spec().patch_size;
  const auto f = static_cast<std::size_t>(face_size), p = static_cast<std::size_t>(patch_size);
  Planar<T> out{std::vector<T>(count * 3 * f * f), std::vector<T>(count * 15 * p * p)};
  lgin::cuda::launch_crop(lgin::Block<Frame>{block.data()->bytes, plan.count()},
                          lgin::Views<T>{out.face.data(), out.patches.data(), face_size, patch_size}, 0, nullptr);
  return out;
}

// So many faces a launch.
template <class T, class Frame>
void paste(std::vector<Chunk>& block, const lgin::FacePlan& plan, const Planar<T>& residuals, int pixels, int faces,
           const Frame&) {
  const lgin::Views<const T> views{residuals.face.data(), residuals.patches.data(), plan.spec().face_size,
                                   plan.spec().patch_size};
  for (int n = 0; n < plan.count(); n += faces) {
    lgin::cuda::launch_paste(lgin::Block<Frame>{block.data()->bytes, plan.count()}, lgin::Pasting{n, faces, 1, pixels, 0},
                             views, 0, nullptr);
  }
}

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T, class Frame>
void run(fuzz::Input& in, fuzz::FrameInput& input, const Frame& frame, const lgin::FacePlan& plan) {
  const int height = frame.height, width = frame.width;
  const lgin::Rectangle all{0, 0, width, height};
  const lgin::Rectangle r = plan.rectangle();
  const auto whole_pitch = static_cast<std::size_t>(frame.y_stride);
  const auto channels = static_cast<std::size_t>(frame.x_stride);
  const std::size_t bytes = static_cast<std::size_t>(r.width()) * channels;
  Part part{{}, bytes + static_cast<std::size_t>(in.whole(0, 3))};
  const std::size_t rows = static_cast<std::size_t>(input.nv12 ? r.height() / 2 * 3 : r.height());
  part.memory.resize((rows - 1) * part.pitch + bytes);
  part.memory.shrink_to_fit();
  part.rows(input.memory.data(), whole_pitch, height, r, channels, input.nv12,
            [&](std::uint8_t* here, const std::uint8_t* there) { std::memcpy(here, there, bytes); });
  const Frame small = moved(frame, part.memory.data(), part.pitch, r);

  std::vector<Chunk> whole_block = block_of(frame, all, plan);
  std::vector<Chunk> block = block_of(small, r, plan);
  const Planar<T> whole_views = crop<T>(whole_block, plan, frame);
  const Planar<T> views = crop<T>(block, plan, frame);
  PROMISE(same(whole_views.face, views.face) && same(whole_views.patches, views.patches));

  const Planar<T> residuals{fuzz::filled<T>(in, views.face.size()), fuzz::filled<T>(in, views.patches.size())};
  const int pixels = in.whole(1, 700);
  paste(whole_block, plan, residuals, pixels, 1, frame);
  paste(block, plan, residuals, pixels, plan.disjoint() && plan.count() ? plan.count() : 1, frame);
  part.rows(input.memory.data(), whole_pitch, height, r, channels, input.nv12,
            [&](const std::uint8_t* here, const std::uint8_t* there) { PROMISE(std::memcmp(here, there, bytes) == 0); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  const int face_size = in.whole(1, 8), patch_size = in.whole(1, 8);
  const bool half = in.flag();
  fuzz::FrameInput frame = fuzz::frame_of(in, 24, true, true);
  const lgin::ViewSpec spec = fuzz::spec_of(in, face_size, patch_size);
  const fuzz::FacesInput input = fuzz::faces_of(in, 2, 24.0, in.flag() ? 48.0 : 65536.0);
  const auto plan = fuzz::plan_of(input.faces(), spec, frame.height(), frame.width(), frame.nv12);
  if (!plan || fuzz::too_long(*plan, 1e3)) return 0;
  fuzz::with_frame(frame, [&](const auto& f) {
    if (half) {
      run<lgin::Half>(in, frame, f, *plan);
    } else {
      run<float>(in, frame, f, *plan);
    }
  });
  return 0;
}
