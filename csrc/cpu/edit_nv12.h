// The edits of NV12 frames, by pairs of rows: two lines of pixels and one of blocks.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "edit_lines.h"

namespace lgin::cpu {
namespace {

// A copy of what the faces of a frame read, as a frame of the same coordinates.
class Nv12Copy {
 public:
  void reserve(std::size_t count) { bytes_.reset(new std::uint8_t[count]); }
  // Of Y and of UV.
  static std::size_t count_of(const Rectangle& part) {
    return static_cast<std::size_t>(part.width()) * static_cast<std::size_t>(part.height()) / 2 * 3;
  }

  void take(const Nv12Frame& frame, const Rectangle& part, int threads) {
    const std::ptrdiff_t stride = part.width();
    std::uint8_t* const luma = bytes_.get();
    std::uint8_t* const chroma = luma + stride * part.height();
    parallel_for(part.height() / 2, 32, threads, [&](int begin, int end, int) {
      for (int i = begin; i < end; ++i) {
        for (const int row : {2 * i, 2 * i + 1}) {
          copy(frame.luma_address(part.y0 + row, part.x0), frame.x_stride, part.width(), luma + row * stride);
        }
        copy(frame.chroma_address(part.y0 / 2 + i, part.x0 / 2), frame.x_stride, part.width(), chroma + i * stride);
      }
    });
    frame_ = frame;
    frame_.x_stride = 1;
    frame_.y_stride = stride;
    // Addresses of the frame's pixel (0, 0), which need not lie in the copy.
    frame_.data = shifted(luma, -(part.y0 * stride + part.x0));
    frame_.chroma = shifted(chroma, -(part.y0 / 2 * stride + part.x0));
  }
  const Nv12Frame& frame() const { return frame_; }

 private:
  static void copy(const std::uint8_t* source, std::ptrdiff_t step, int count, std::uint8_t* target) {
    for (int k = 0; k < count; ++k) target[k] = source[k * step];
  }
  static std::uint8_t* shifted(std::uint8_t* p, std::ptrdiff_t bytes) {
    return reinterpret_cast<std::uint8_t*>(reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(bytes));
  }

  std::unique_ptr<std::uint8_t[]> bytes_;
  Nv12Frame frame_{};
};

// Even columns and rows inside the frame.
Rectangle copied(const PastePlan& plan, const Nv12Frame& frame) {
  const auto even = [](int low, int high, int size) {
    return std::pair<int, int>{std::max(0, (low - kMoveReach) / 2 * 2 - 2), std::min(size, (high + kMoveReach) / 2 * 2 + 2)};
  };
  const auto [x0, x1] = even(plan.column_begin, plan.column_end, frame.width);
  const auto [y0, y1] = even(plan.row_begin, plan.row_end, frame.height);
  return Rectangle{x0, y0, x1, y1};
}

template <class T>
struct Job<Nv12Frame, T> {
  const Nv12Frame& frame;
  const PastePlan& plan;
  const EditTexels& texels;
  const PlanarEdits<T>& edits;
  const Nv12Frame& copy;
  bool coloured, edits_first;
};

// Call f(k, edit) for the positions of a line inside the square.
template <class T, class F>
void each_edit(const Job<Nv12Frame, T>& job, const Line& line, const Sums& sums, const F& f) {
#if defined(LGIN_AVX2)
  const auto sum = has_avx2() ? avx2::sum_views : plain::sum_views;
  const auto work = has_avx2() ? avx2::work_out<T> : plain::work_out<T>;
#else
  const auto sum = plain::sum_views;
  const auto work = plain::work_out<T>;
#endif
  const Span span = sum(job.plan, job.texels, line, sums);
  for (int first = span.begin; first < span.end; first += kBatch) {
    const int count = std::min(kBatch, span.end - first);
    EditBatch batch;
    work(job.plan, job.texels, job.edits, line, first, count, sums, !job.edits_first, &batch);
    for (int c = 0; c < count; ++c) {
      const Color4 d = job.plan.scale * sums.detail[first + c];
      f(first + c, PixelEdit{Rgb{number_or_0(d[0]), number_or_0(d[1]), number_or_0(d[2])}, batch.light[c], batch.grey[c],
                             batch.moves ? Move{batch.move_x[c], batch.move_y[c]} : Move{0.0f, 0.0f}});
    }
  }
}

// Call f(k, move) for the positions of a line inside the square.
template <class T, class F>
void each_move(const Job<Nv12Frame, T>& job, const Line& line, const F& f) {
#if defined(LGIN_AVX2)
  const auto work = has_avx2() ? avx2::moves_of : plain::moves_of;
#else
  const auto work = plain::moves_of;
#endif
  const Span span = inside_span(job.plan.views[0], line, Span{0, line.count});
  for (int first = span.begin; first < span.end; first += kBatch) {
    const int count = std::min(kBatch, span.end - first);
    EditBatch batch;
    work(job.plan, job.texels, line, first, count, &batch);
    for (int c = 0; c < count; ++c) f(first + c, Move{batch.move_x[c], batch.move_y[c]});
  }
}

// Call f(line, put) for the lines of a pair of rows, two of pixels and one of blocks: put(k, yuv) writes the Y of a pixel, or the U
// and V of a block, at position k of the line.
template <class F>
void each_line(const PastePlan& plan, int row_pair, const Nv12Frame& target, const F& f) {
  for (int row = std::max(2 * row_pair, plan.row_begin); row < std::min(2 * row_pair + 2, plan.row_end); ++row) {
    f(pixel_line(plan, row), [&](int k, const Yuv& yuv) { *target.luma_address(row, plan.column_begin + k) = rounded(yuv.y); });
  }
  f(block_line(plan, row_pair), [&](int k, const Yuv& yuv) {
    std::uint8_t* const u = target.chroma_address(row_pair, plan.column_begin / 2 + k);
    u[0] = rounded(yuv.u);
    u[target.x_stride] = rounded(yuv.v);
  });
}

template <class T>
void paste_unit(const Job<Nv12Frame, T>& job, int row_pair, const Sums& sums) {
  const PastePlan& plan = job.plan;
  const Nv12Frame& source = moves_after(job) ? job.frame : job.copy;
  each_line(plan, row_pair, moves_after(job) ? job.copy : job.frame, [&](const Line& line, const auto& put) {
    each_edit(job, line, sums, [&](int k, const PixelEdit& edit) {
      put(k, edited_yuv(source, plan, edit, line.dx(k), line.dy, job.coloured));
    });
  });
}

// What was edited into the copy.
template <class T>
void move_unit(const Job<Nv12Frame, T>& job, int row_pair) {
  const PastePlan& plan = job.plan;
  each_line(plan, row_pair, job.frame, [&](const Line& line, const auto& put) {
    each_move(job, line, [&](int k, const Move& move) {
      put(k, yuv_at(job.copy, plan, line.dx(k) + move.x, line.dy + move.y, !is_still(move)));
    });
  });
}

// Whether a block inside the square has colour.
bool has_colour(const Nv12Frame& frame, const PastePlan& plan) {
  for (int pair = first_unit(frame, plan); pair < last_unit(frame, plan); ++pair) {
    const Line line = block_line(plan, pair);
    const Span span = inside_span(plan.views[0], line, Span{0, line.count});
    for (int k = span.begin; k < span.end; ++k) {
      const std::uint8_t* const u = frame.chroma_address(pair, plan.column_begin / 2 + k);
      if (u[0] != 128 || u[frame.x_stride] != 128) return true;
    }
  }
  return false;
}

// What a face reads of a frame before anything is written.
struct Nv12Source {
  Nv12Copy copy;

  void reserve(const FacePlan& plan, const Nv12Frame& frame) {
    std::size_t most = 0;
    for (const PastePlan& paste : plan.pastes()) most = std::max(most, Nv12Copy::count_of(copied(paste, frame)));
    copy.reserve(most);
  }
  void take(const Nv12Frame& frame, const PastePlan& plan, const EditTexels&, int threads) {
    copy.take(frame, copied(plan, frame), threads);
  }
  void finish() {}
  const Nv12Frame& get() const { return copy.frame(); }
};

Nv12Source source_for(const Nv12Frame&) { return Nv12Source{}; }

}  // namespace
}  // namespace lgin::cpu
