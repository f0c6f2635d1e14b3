#include <algorithm>
#include <cmath>

#include "parallel.h"
#include "region_ops.h"
#include "vector.h"

namespace lgin::cpu {
namespace {

constexpr int kRowsPerChunk = 16;

// Offsets of the footprint's samples, worked out once for many pixels. On the stack (32 kB): see parallel_for.
class OffsetTable {
 public:
  explicit OffsetTable(const ViewPlan& plan) : columns_(plan.na) {
    for (int m = 0; m < plan.nb; ++m) {
      for (int k = 0; k < plan.na; ++k) table_[m * columns_ + k] = footprint_offset(plan, m, k);
    }
  }
  const Offset& operator()(int m, int k) const { return table_[m * columns_ + k]; }

 private:
  Offset table_[kMaxSamples * kMaxSamples];
  int columns_;
};

struct Interval {
  double begin, end;  // j with begin <= j <= end
};

// The j in `within` with low <= base + j * step <= high.
Interval solve(Interval within, double base, double step, double low, double high) {
  constexpr Interval none{1.0, 0.0};
  if (low > high) return none;  // a frame of a few pixels
  if (step == 0.0) return low <= base && base <= high ? within : none;
  const double a = (low - base) / step;
  const double b = (high - base) / step;
  return Interval{std::max(within.begin, std::min(a, b)), std::min(within.end, std::max(a, b))};
}

// The columns of view row i whose samples need no clamping: all their taps, and a pixel around them, lie in the frame.
Interval interior_columns(const ViewPlan& plan, int i, int frame_height, int frame_width) {
  const double ax = plan.ax, ay = plan.ay, bx = plan.bx, by = plan.by;
  // Half a pixel and 2^-16 of the view's extent are far more than float's rounding.
  const double slack_x = 0.5 + 0.5 * (std::fabs(ax) + std::fabs(bx)) +
                         1.5e-5 * (std::fabs(ax) * plan.width + std::fabs(bx) * plan.height);
  const double slack_y = 0.5 + 0.5 * (std::fabs(ay) + std::fabs(by)) +
                         1.5e-5 * (std::fabs(ay) * plan.width + std::fabs(by) * plan.height);
  Interval columns{0.0, plan.width - 1.0};
  columns = solve(columns, plan.x0 + i * bx + plan.origin_x, ax, 1.0 + slack_x, frame_width - 3.0 - slack_x);
  columns = solve(columns, plan.y0 + i * by + plan.origin_y, ay, 1.0 + slack_y, frame_height - 3.0 - slack_y);
  return columns;
}

// A row of a view in its three planes.
template <class T>
struct Row {
  T* r;
  T* g;
  T* b;
};

template <bool Clamp, class Frame, class T>
void crop_columns(const Frame& frame, const ViewPlan& plan, const OffsetTable& offsets, int i, int begin, int end,
                  const Row<T>& row) {
  for (int j = begin; j < end; ++j) {
    const Rgb value = to_unit(footprint_mean<Clamp>(frame, plan, offsets, i, j));
    store(row.r + j, value.r);
    store(row.g + j, value.g);
    store(row.b + j, value.b);
  }
}

// A batch of neighbouring view pixels of a row, whose taps need no clamping.
constexpr int kBatch = 64;

struct Batch {
  int row, first, count;
};

struct Taps {
  int x[kBatch], y[kBatch];
  float fx[kBatch], fy[kBatch];
};

struct Luma {
  static float coordinate(float x) { return x; }
  static int origin(int x) { return x; }
};

struct Chroma {
  static float coordinate(float x) { return chroma_coordinate(x); }
  static int origin(int x) { return x / 2; }
};

// The same sample of the footprints of all pixels of a batch, in the frame or in NV12's plane of half the size.
template <class Plane = Luma>
inline void locate(const ViewPlan& plan, const Batch& batch, const Offset& offset, Taps* taps) {
  for (int c = 0; c < batch.count; ++c) {
    const Position p = view_position(plan, batch.row, batch.first + c);
    const Tap x = tap<false>(Plane::coordinate(p.x + offset.x), Plane::origin(plan.origin_x), 0);
    const Tap y = tap<false>(Plane::coordinate(p.y + offset.y), Plane::origin(plan.origin_y), 0);
    taps->x[c] = x.low;
    taps->y[c] = y.low;
    taps->fx[c] = x.fraction;
    taps->fy[c] = y.fraction;
  }
}

// A packed frame whose channels are neighbours: four bytes from an address hold a pixel's, and one that is not used. That
// one belongs to the pixel or to its neighbour in memory, so it may be read where a sample keeps a pixel's distance from
// the border.
struct Neighbours {
  const std::uint8_t* first;
  std::ptrdiff_t x_stride, y_stride;
  int lane_r, lane_b;

  static bool fits(const PackedFrame& frame) {
    const std::ptrdiff_t step = frame.offset[1] - frame.offset[0];
    return (step == 1 || step == -1) && frame.offset[2] - frame.offset[1] == step && frame.x_stride != 0;
  }
  explicit Neighbours(const PackedFrame& frame)
      : first(frame.data + frame.offset[1] - 1),
        x_stride(frame.x_stride),
        y_stride(frame.y_stride),
        lane_r(frame.offset[0] < frame.offset[2] ? 0 : 2),
        lane_b(2 - lane_r) {}

  const std::uint8_t* address(const Taps& taps, int c) const {
    return first + taps.y[c] * y_stride + taps.x[c] * x_stride;
  }
};

// sums += sample<false>
void add_samples(const Neighbours& frame, const ViewPlan& plan, const Batch& batch, const Offset& offset,
                 Color4* sums) {
  Taps taps;
  locate(plan, batch, offset, &taps);
  for (int c = 0; c < batch.count; ++c) {
    const std::uint8_t* const p = frame.address(taps, c);
    const std::uint8_t* const q = p + frame.y_stride;
    sums[c] += bilerp(load_bytes(p), load_bytes(p + frame.x_stride), load_bytes(q), load_bytes(q + frame.x_stride),
                      taps.fx[c], taps.fy[c]);
  }
}

#if defined(LGIN_AVX2)
__attribute__((target("avx2"))) inline __m256 load_pair(const std::uint8_t* p, std::ptrdiff_t x_stride) {
  int left, right;
  std::memcpy(&left, p, sizeof left);
  std::memcpy(&right, p + x_stride, sizeof right);
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_insert_epi32(_mm_cvtsi32_si128(left), right, 1)));
}

__attribute__((target("avx2"))) void add_samples_avx2(const Neighbours& frame, const ViewPlan& plan, const Batch& batch,
                                                      const Offset& offset, Color4* sums) {
  Taps taps;
  locate(plan, batch, offset, &taps);
  for (int c = 0; c < batch.count; ++c) {
    const std::uint8_t* const p = frame.address(taps, c);
    const __m256 upper = load_pair(p, frame.x_stride), lower = load_pair(p + frame.y_stride, frame.x_stride);
    const __m256 columns = upper + taps.fy[c] * (lower - upper);
    const __m128 left = _mm256_castps256_ps128(columns), right = _mm256_extractf128_ps(columns, 1);
    sums[c] += left + taps.fx[c] * (right - left);
  }
}
#endif

template <class T>
void crop_interior(const PackedFrame& frame, const ViewPlan& plan, const OffsetTable& offsets, int i, int begin,
                   int end, const Row<T>& row) {
  if (!Neighbours::fits(frame)) {
    crop_columns<false>(frame, plan, offsets, i, begin, end, row);
    return;
  }
  const Neighbours neighbours(frame);
#if defined(LGIN_AVX2)
  const auto add = has_avx2() ? add_samples_avx2 : add_samples;
#else
  const auto add = add_samples;
#endif
  const float samples = static_cast<float>(plan.na * plan.nb);
  for (int first = begin; first < end; first += kBatch) {
    const Batch batch{i, first, std::min(kBatch, end - first)};
    Color4 sums[kBatch];
    std::fill_n(sums, batch.count, Color4{});
    for (int m = 0; m < plan.nb; ++m) {
      for (int k = 0; k < plan.na; ++k) add(neighbours, plan, batch, offsets(m, k), sums);
    }
    for (int c = 0; c < batch.count; ++c) {
      const Color4 value = to_unit(sums[c] / samples);
      store(row.r + first + c, value[neighbours.lane_r]);
      store(row.g + first + c, value[1]);
      store(row.b + first + c, value[neighbours.lane_b]);
    }
  }
}

// Bilinear samples of one byte plane: gathered byte by byte, then worked out many at a time.
void sample_plane(const std::uint8_t* plane, std::ptrdiff_t x_stride, std::ptrdiff_t y_stride, const Taps& taps, int count,
                  float* samples) {
  int p00[kBatch], p01[kBatch], p10[kBatch], p11[kBatch];
  for (int c = 0; c < count; ++c) {
    const std::uint8_t* const p = plane + taps.y[c] * y_stride + taps.x[c] * x_stride;
    p00[c] = p[0];
    p01[c] = p[x_stride];
    p10[c] = p[y_stride];
    p11[c] = p[y_stride + x_stride];
  }
  for (int c = 0; c < count; ++c) {
    samples[c] = bilerp(static_cast<float>(p00[c]), static_cast<float>(p01[c]), static_cast<float>(p10[c]),
                        static_cast<float>(p11[c]), taps.fx[c], taps.fy[c]);
  }
}

template <class T>
void crop_interior(const Nv12Frame& frame, const ViewPlan& plan, const OffsetTable& offsets, int i, int begin, int end,
                   const Row<T>& row) {
  const float samples = static_cast<float>(plan.na * plan.nb);
  for (int first = begin; first < end; first += kBatch) {
    const Batch batch{i, first, std::min(kBatch, end - first)};
    float r[kBatch] = {}, g[kBatch] = {}, b[kBatch] = {};
    for (int m = 0; m < plan.nb; ++m) {
      for (int k = 0; k < plan.na; ++k) {
        Taps taps;
        float y[kBatch], u[kBatch], v[kBatch];
        locate<Luma>(plan, batch, offsets(m, k), &taps);
        sample_plane(frame.data, frame.x_stride, frame.y_stride, taps, batch.count, y);
        locate<Chroma>(plan, batch, offsets(m, k), &taps);
        sample_plane(frame.chroma, 2 * frame.x_stride, frame.y_stride, taps, batch.count, u);
        sample_plane(frame.chroma + frame.x_stride, 2 * frame.x_stride, frame.y_stride, taps, batch.count, v);
        for (int c = 0; c < batch.count; ++c) {
          const Rgb color = rgb_from_yuv(y[c], u[c], v[c]);
          r[c] += color.r;
          g[c] += color.g;
          b[c] += color.b;
        }
      }
    }
    for (int c = 0; c < batch.count; ++c) {
      store(row.r + first + c, to_unit(r[c] / samples));
      store(row.g + first + c, to_unit(g[c] / samples));
      store(row.b + first + c, to_unit(b[c] / samples));
    }
  }
}

template <class Frame, class T>
void crop_rows(const Frame& frame, const ViewPlan& plan, int begin, int end, T* view) {
  const OffsetTable offsets(plan);
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(plan.height) * plan.width;
  for (int i = begin; i < end; ++i) {
    T* const first = view + static_cast<std::ptrdiff_t>(i) * plan.width;
    const Row<T> row{first, first + plane, first + 2 * plane};
    const Interval columns = interior_columns(plan, i, frame.height, frame.width);
    int left = plan.width, right = plan.width;
    if (columns.begin <= columns.end) {
      left = static_cast<int>(std::ceil(columns.begin));
      right = static_cast<int>(std::floor(columns.end)) + 1;
    }
    crop_columns<true>(frame, plan, offsets, i, 0, left, row);
    crop_interior(frame, plan, offsets, i, left, right, row);
    crop_columns<true>(frame, plan, offsets, i, right, plan.width, row);
  }
}

}  // namespace

template <class Frame, class T>
void region_crop(const Frame& frame, const FacePlan& face_plan, const Views<T>& views, int threads) {
  // A chunk is some rows of one view, so that the faces and views of a call share the threads.
  struct Chunk {
    const ViewPlan* plan;
    T* view;
    int begin;
  };
  std::vector<Chunk> chunks;
  const std::ptrdiff_t face_step = 3 * static_cast<std::ptrdiff_t>(views.face_size) * views.face_size;
  const std::ptrdiff_t patch_step = 3 * static_cast<std::ptrdiff_t>(views.patch_size) * views.patch_size;
  for (std::ptrdiff_t n = 0; n < face_plan.count(); ++n) {
    for (std::ptrdiff_t v = 0; v < kViews; ++v) {
      T* const view = v == 0 ? views.face + n * face_step : views.patches + (n * kRegions + v - 1) * patch_step;
      const ViewPlan& plan = face_plan.crops()[static_cast<std::size_t>(n * kViews + v)];
      for (int i = 0; i < plan.height; i += kRowsPerChunk) chunks.push_back(Chunk{&plan, view, i});
    }
  }
  parallel_for(static_cast<int>(chunks.size()), 1, threads, [&](int begin, int end, int) {
    for (int c = begin; c < end; ++c) {
      const Chunk& chunk = chunks[static_cast<std::size_t>(c)];
      crop_rows(frame, *chunk.plan, chunk.begin, std::min(chunk.begin + kRowsPerChunk, chunk.plan->height), chunk.view);
    }
  });
}

template <class Frame, class T>
void resample(const Frame& frame, const double* affine, T* view, int height, int width, int threads) {
  const ViewPlan plan = plan_view(affine, height, width);
  parallel_for(height, kRowsPerChunk, threads,
               [&](int begin, int end, int) { crop_rows(frame, plan, begin, end, view); });
}

template void region_crop(const PackedFrame&, const FacePlan&, const Views<float>&, int);
template void region_crop(const PackedFrame&, const FacePlan&, const Views<Half>&, int);
template void region_crop(const Nv12Frame&, const FacePlan&, const Views<float>&, int);
template void region_crop(const Nv12Frame&, const FacePlan&, const Views<Half>&, int);
template void resample(const PackedFrame&, const double*, float*, int, int, int);
template void resample(const PackedFrame&, const double*, Half*, int, int, int);
template void resample(const Nv12Frame&, const double*, float*, int, int, int);
template void resample(const Nv12Frame&, const double*, Half*, int, int, int);

}  // namespace lgin::cpu
