#include <algorithm>
#include <memory>

#include "parallel.h"
#include "views.h"

namespace lgin::cpu {
namespace {

class Residuals {
 public:
  Residuals(int face_size, int patch_size, Order order)
      : face_size_(face_size), patch_size_(patch_size), order_(order), texels_(new Texel[index_of(kViews)]) {}

  Order order() const { return order_; }
  Texels view(int v) const { return Texels{texels_.get() + index_of(v), size_of(v)}; }

  template <class T>
  void load(const T* face, const T* patches, int threads) {
    const int rows = face_size_ + kRegions * patch_size_;
    parallel_for(rows, 64, threads, [&](int begin, int end, int) {
      for (int row = begin; row < end; ++row) {
        const int v = row < face_size_ ? 0 : 1 + (row - face_size_) / patch_size_;
        const std::ptrdiff_t i = v == 0 ? row : (row - face_size_) % patch_size_;
        const std::ptrdiff_t size = size_of(v), plane = size * size;
        const T* const source = (v == 0 ? face : patches + 3 * (v - 1) * plane) + i * size;
        const std::size_t bytes = static_cast<std::size_t>(size + 2) * sizeof(Texel);
        Texel* const target = texels_.get() + index_of(v) + (i + 1) * (size + 2);
        const T* const green = source + plane;
        const T* const first = order_ == Order::bgr ? green + plane : source;
        const T* const third = order_ == Order::bgr ? source : green + plane;
        for (std::ptrdiff_t j = 0; j < size; ++j) {
          target[j + 1] = Texel{{to_float(first[j]), to_float(green[j]), to_float(third[j]), 0.0f}};
        }
        target[0] = target[1];
        target[size + 1] = target[size];
        if (i == 0) std::memcpy(target - (size + 2), target, bytes);
        if (i == size - 1) std::memcpy(target + (size + 2), target, bytes);
      }
    });
  }

 private:
  int size_of(int v) const { return v == 0 ? face_size_ : patch_size_; }
  std::size_t index_of(int v) const {
    const std::size_t face = static_cast<std::size_t>(face_size_) + 2, patch = static_cast<std::size_t>(patch_size_) + 2;
    return v == 0 ? 0 : face * face + static_cast<std::size_t>(v - 1) * patch * patch;
  }

  int face_size_, patch_size_;
  Order order_;
  std::unique_ptr<Texel[]> texels_;  // not cleared first: megabytes
};

// Residuals of a line into `d`; returns the positions inside the face's square. residual_at, view by view.
Span residual_line(const PastePlan& plan, const Residuals& residuals, const Line& line, Color4* d) {
#if defined(LGIN_AVX2)
  const auto add = has_avx2() ? add_view_avx2 : add_view;
#else
  const auto add = add_view;
#endif
  const Span face = inside_span(plan.views[0], line, Span{0, line.count});
  std::fill(d + face.begin, d + face.end, Color4{});
  for (int v = 0; v < kViews; ++v) {
    const ViewMap map = plan.views[v];
    const Texels texels = residuals.view(v);
    const Span span = v == 0 ? face : inside_span(map, line, face);
    for (int k = span.begin; k < span.end; k += kBatch) {
      add(map, line, texels, k, std::min(kBatch, span.end - k), d + k);
    }
  }
  return face;
}

Rgb change_at(const PastePlan& plan, const Color4* d, int k) {
  const Color4 c = d[k];
  return plan.scale * Rgb{c[0], c[1], c[2]};
}

// Three neighbouring bytes changed by the first three lanes.
inline void change_neighbours(std::uint8_t* p, const Color4& change) {
  const Int4 bytes = changed_bytes(
      widen_to_int(static_cast<std::uint32_t>(p[0] | p[1] << 8 | p[2] << 16)), change);
  p[0] = static_cast<std::uint8_t>(bytes[0]);
  p[1] = static_cast<std::uint8_t>(bytes[1]);
  p[2] = static_cast<std::uint8_t>(bytes[2]);
}

void paste_unit(const PackedFrame& frame, const PastePlan& plan, const Residuals& residuals, int row, Color4* d) {
  const Span span = residual_line(plan, residuals, pixel_line(plan, row), d);
  const std::ptrdiff_t r = frame.offset[0], g = frame.offset[1], b = frame.offset[2];
  for (int k = span.begin; k < span.end; ++k) {
    std::uint8_t* const p = frame.address(row, plan.column_begin + k);
    const Color4 change = plan.scale * d[k];
    if (residuals.order() != Order::other) {
      change_neighbours(p + g - 1, change);
      continue;
    }
    const Int4 bytes = changed_bytes(Int4{p[r], p[g], p[b], 0}, change);
    p[r] = static_cast<std::uint8_t>(bytes[0]);
    p[g] = static_cast<std::uint8_t>(bytes[1]);
    p[b] = static_cast<std::uint8_t>(bytes[2]);
  }
}

void paste_unit(const Nv12Frame& frame, const PastePlan& plan, const Residuals& residuals, int row_pair, Color4* d) {
  for (int row = std::max(2 * row_pair, plan.row_begin); row < std::min(2 * row_pair + 2, plan.row_end); ++row) {
    const Span span = residual_line(plan, residuals, pixel_line(plan, row), d);
    for (int k = span.begin; k < span.end; ++k) {
      std::uint8_t* const y = frame.luma_address(row, plan.column_begin + k);
      *y = static_cast<std::uint8_t>(changed_bytes(Int4{*y}, Color4{luma_change(change_at(plan, d, k))})[0]);
    }
  }
  const int begin = plan.column_begin / 2;
  const Line blocks = block_line(plan, row_pair);
  const Span span = residual_line(plan, residuals, blocks, d);
  for (int k = span.begin; k < span.end; ++k) {
    const Rgb change = change_at(plan, d, k);
    std::uint8_t* const u = frame.chroma_address(row_pair, begin + k);
    std::uint8_t* const v = u + frame.x_stride;
    const Int4 bytes = changed_bytes(Int4{*u, *v, 0, 0}, Color4{u_change(change), v_change(change), 0.0f, 0.0f});
    *u = static_cast<std::uint8_t>(bytes[0]);
    *v = static_cast<std::uint8_t>(bytes[1]);
  }
}

}  // namespace

template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& face_plan, const Views<const T>& views, int threads) {
  if (face_plan.count() == 0) return;
  Residuals residuals(views.face_size, views.patch_size, order_of(frame));
  const std::size_t face_step = face_elements(views), patch_step = patch_elements(views);
  // All memory is there before the first byte changes: a line of each worker, as long as any face's.
  int longest = 0, workers = 0;
  for (const PastePlan& plan : face_plan.pastes()) {
    longest = std::max(longest, plan.column_end - plan.column_begin);
    workers = std::max(workers, (last_unit(frame, plan) - first_unit(frame, plan)) / kRowsPerChunk + 1);
  }
  const std::size_t line = static_cast<std::size_t>(longest);
  const std::unique_ptr<Color4[]> lines(new Color4[line * static_cast<std::size_t>(std::min(threads, workers))]);
  for (std::size_t n = 0; n < face_plan.pastes().size(); ++n) {  // in order, so that overlapping faces add up the same way
    const PastePlan& plan = face_plan.pastes()[n];
    if (plan.column_begin >= plan.column_end || plan.row_begin >= plan.row_end) continue;
    residuals.load(views.face + n * face_step, views.patches + n * patch_step, threads);
    const int first = first_unit(frame, plan);
    parallel_for(last_unit(frame, plan) - first, kRowsPerChunk, threads, [&](int begin, int end, int worker) {
      Color4* const d = lines.get() + line * static_cast<std::size_t>(worker);
      for (int unit = first + begin; unit < first + end; ++unit) paste_unit(frame, plan, residuals, unit, d);
    });
  }
}

template void region_paste(const PackedFrame&, const FacePlan&, const Views<const float>&, int);
template void region_paste(const PackedFrame&, const FacePlan&, const Views<const Half>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const Views<const float>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const Views<const Half>&, int);

}  // namespace lgin::cpu
