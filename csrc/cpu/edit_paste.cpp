#include <algorithm>
#include <memory>
#include <utility>

#include "parallel.h"
#include "views.h"

namespace lgin::cpu {
namespace {

// Two values of a texel of the face view: grey and skin. Neighbours of a row are one vector.
struct Pair {
  float grey, skin;
};

// The edits of a face: texels interleaved, with their border replicated around them, and which of them do anything at all.
class EditTexels {
 public:
  EditTexels(int face_size, int patch_size, int coarse_size, Order order)
      : face_size_(face_size),
        patch_size_(patch_size),
        coarse_size_(coarse_size),
        order_(order),
        details_(new Texel[index_of(kViews)]),
        pairs_(new Pair[area(face_size)]),
        coarse_(new Texel[area(coarse_size)]) {}

  Order order() const { return order_; }
  Texels view(int v) const { return Texels{details_.get() + index_of(v), v == 0 ? face_size_ : patch_size_}; }
  const Pair* pairs() const { return pairs_.get(); }
  Texels coarse() const { return Texels{coarse_.get(), coarse_size_}; }
  bool moves() const { return moves_; }
  bool greys() const { return greys_; }
  bool draws() const { return draws_; }

  template <class T>
  void load(const PlanarEdits<T>& edits, int threads) {
    std::atomic<bool> greys{false}, skin{false};
    const int rows = face_size_ + kRegions * patch_size_;
    parallel_for(rows, 64, threads, [&](int begin, int end, int) {
      for (int row = begin; row < end; ++row) {
        const int v = row < face_size_ ? 0 : 1 + (row - face_size_) / patch_size_;
        const int i = v == 0 ? row : (row - face_size_) % patch_size_;
        const auto view = edits.view(v);
        const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(view.size) * view.size;
        const T* const source = view.planes + static_cast<std::ptrdiff_t>(i) * view.size;
        const bool bgr = order_ == Order::bgr;
        const T* const planes[4] = {source + (bgr ? 2 * plane : 0), source + plane, source + (bgr ? 0 : 2 * plane),
                                    source + 3 * plane};
        interleave(planes, view.size, i, details_.get() + index_of(v));
        if (v == 0 && load_pairs(edits, i, &greys)) skin = true;
      }
    });
    greys_ = greys;
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(coarse_size_) * coarse_size_;
    moves_ = edits.flow && any(edits.flow, 2 * plane);
    draws_ = edits.lines && skin && any(edits.lines, static_cast<std::ptrdiff_t>(edits.line_size) * edits.line_size);
    if (!moves_ && !draws_) return;
    const T* const flow = edits.flow ? edits.flow : edits.place;
    const T* const place = edits.place ? edits.place : edits.flow;
    for (int i = 0; i < coarse_size_; ++i) {
      const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(i) * coarse_size_;
      const T* const planes[4] = {flow + row, flow + plane + row, place + row, place + plane + row};
      interleave(planes, coarse_size_, i, coarse_.get());
    }
  }

 private:
  static std::size_t area(int size) { return (static_cast<std::size_t>(size) + 2) * (static_cast<std::size_t>(size) + 2); }
  std::size_t index_of(int v) const {
    return v == 0 ? 0 : area(face_size_) + static_cast<std::size_t>(v - 1) * area(patch_size_);
  }

  // A row of texels, and with the first and the last one those beyond them.
  template <class T>
  static void interleave(const T* const* planes, int size, int i, Texel* corner) {
    const std::ptrdiff_t stride = size + 2;
    Texel* const row = corner + (i + 1) * stride;
    for (int j = 0; j < size; ++j) {
      row[j + 1] = Texel{{to_float(planes[0][j]), to_float(planes[1][j]), to_float(planes[2][j]), to_float(planes[3][j])}};
    }
    replicate(row, size, i, stride);
  }

  template <class V>
  static void replicate(V* row, int size, int i, std::ptrdiff_t stride) {
    row[0] = row[1];
    row[size + 1] = row[size];
    if (i == 0) std::copy_n(row, stride, row - stride);
    if (i == size - 1) std::copy_n(row, stride, row + stride);
  }

  // Whether there is skin in the row.
  template <class T>
  bool load_pairs(const PlanarEdits<T>& edits, int i, std::atomic<bool>* greys) {
    const std::ptrdiff_t start = static_cast<std::ptrdiff_t>(i) * face_size_;
    const T* const grey = edits.face_plane(4) + start;
    const T* const skin = edits.face_plane(5) + start;
    const std::ptrdiff_t stride = face_size_ + 2;
    Pair* const row = pairs_.get() + (i + 1) * stride;
    float greyest = 0.0f, most = 0.0f;  // a sum of absolute values: 0 where all are, and not a number where one is not
    for (int j = 0; j < face_size_; ++j) {
      const Pair pair{to_float(grey[j]), to_float(skin[j])};
      row[j + 1] = pair;
      greyest += std::fabs(pair.grey);
      most += std::fabs(pair.skin);
    }
    replicate(row, face_size_, i, stride);
    if (!(greyest == 0.0f)) *greys = true;
    return !(most == 0.0f);
  }

  template <class T>
  static bool any(const T* values, std::ptrdiff_t count) {
    return std::any_of(values, values + count, [](T value) { return !(to_float(value) == 0.0f); });
  }

  int face_size_, patch_size_, coarse_size_;
  Order order_;
  bool moves_ = false, greys_ = false, draws_ = false;
  std::unique_ptr<Texel[]> details_;
  std::unique_ptr<Pair[]> pairs_;
  std::unique_ptr<Texel[]> coarse_;
};

// What one worker keeps of a line: the sums over the views, and of the face view w_0, w_0 s and w_0 m.
struct Sums {
  Color4* detail;
  float *weight, *grey, *skin;
};

// The edits of up to kBatch pixels of a line, but for their residuals.
struct EditBatch {
  float light[kBatch], grey[kBatch];
  float move_x[kBatch], move_y[kBatch];
  bool moves;
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

Rectangle snapshot_of(const PastePlan& plan) {
  const int reach = 2 * kMoveReach;
  return Rectangle{plan.column_begin - reach, plan.row_begin - reach, plan.column_end + reach, plan.row_end + reach};
}

std::size_t area_of(const Rectangle& part) {
  return static_cast<std::size_t>(part.width()) * static_cast<std::size_t>(part.height());
}

// ---- packed frames ------------------------------------------------------------------------------------------------

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

// One face at one age, for all its lines.
template <class Frame, class T>
struct Job;

template <class T>
struct Job<PackedFrame, T> {
  const PackedFrame& frame;
  const PastePlan& plan;
  const EditTexels& texels;
  const PlanarEdits<T>& edits;
  const Snapshot& copy;
  bool coloured, edits_first;
};

// Whether it is edited first, and moves then.
template <class Frame, class T>
bool moves_after(const Job<Frame, T>& job) {
  return job.edits_first && job.texels.moves();
}

// The lines' arithmetic, compiled for every processor and, where there is one, for AVX2 too; the bytes are the same.
namespace plain {
#include "edit_lines.inl"
}
#if defined(LGIN_AVX2)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
namespace avx2 {
#include "edit_lines.inl"
}
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

template <class T>
void paste_unit(const Job<PackedFrame, T>& job, int row, const Sums& sums) {
#if defined(LGIN_AVX2)
  if (has_avx2()) return avx2::paste_row(job, row, sums);
#endif
  plain::paste_row(job, row, sums);
}

template <class T>
void move_unit(const Job<PackedFrame, T>& job, int row) {
#if defined(LGIN_AVX2)
  if (has_avx2()) return avx2::move_row(job, row);
#endif
  plain::move_row(job, row);
}

// Whether a pixel inside the square has colour.
bool has_colour(const PackedFrame& frame, const PastePlan& plan) {
  for (int row = plan.row_begin; row < plan.row_end; ++row) {
    const Span span = inside_span(plan.views[0], pixel_line(plan, row), Span{0, plan.column_end - plan.column_begin});
    for (int k = span.begin; k < span.end; ++k) {
      const std::uint8_t* const p = frame.address(row, plan.column_begin + k);
      if (p[frame.offset[0]] != p[frame.offset[1]] || p[frame.offset[0]] != p[frame.offset[2]]) return true;
    }
  }
  return false;
}

// ---- NV12 ---------------------------------------------------------------------------------------------------------

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

// ---- every frame --------------------------------------------------------------------------------------------------

// What a face reads of a frame before anything is written.
struct PackedSource {
  Snapshot snapshot;

  void reserve(const FacePlan& plan, const PackedFrame&) {
    std::size_t most = 0;
    for (const PastePlan& paste : plan.pastes()) most = std::max(most, area_of(snapshot_of(paste)));
    snapshot.reserve(most);
  }
  // Only what moves is read from it.
  void take(const PackedFrame& frame, const PastePlan& plan, const EditTexels& texels, int threads) {
    if (!texels.moves()) return;
    const bool bgr = texels.order() == Order::bgr;
    const std::ptrdiff_t first = frame.offset[bgr ? 2 : 0], second = frame.offset[1], third = frame.offset[bgr ? 0 : 2];
    snapshot.take(snapshot_of(plan), frame.height, frame.width, threads, [&](int y, int x) {
      const std::uint8_t* const p = frame.address(y, x);
      return Texel{{float(p[first]), float(p[second]), float(p[third]), 0.0f}};
    });
  }
  // When all is in it that is read.
  void finish() { snapshot.replicate(); }
  const Snapshot& get() const { return snapshot; }
};

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

PackedSource source_for(const PackedFrame&) { return PackedSource{}; }
Nv12Source source_for(const Nv12Frame&) { return Nv12Source{}; }

bool is_empty(const PastePlan& plan) { return plan.column_begin >= plan.column_end || plan.row_begin >= plan.row_end; }

}  // namespace

template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& face_plan, const EditViews<T>& views, int threads) {
  if (face_plan.count() == 0) return;
  const PlanarEdits<T>& sizes = views.first;
  EditTexels texels(sizes.face_size, sizes.patch_size, sizes.coarse_size, order_of(frame));
  auto source = source_for(frame);
  source.reserve(face_plan, frame);
  // All memory is there before the first byte changes: a line of each worker, as long as any face's.
  int longest = 0, workers = 0;
  for (const PastePlan& plan : face_plan.pastes()) {
    longest = std::max(longest, plan.column_end - plan.column_begin + 1);
    workers = std::max(workers, (last_unit(frame, plan) - first_unit(frame, plan)) / kRowsPerChunk + 1);
  }
  const std::size_t length = static_cast<std::size_t>(longest);
  const std::size_t lines = length * static_cast<std::size_t>(std::min(threads, workers));
  const std::unique_ptr<Color4[]> details(new Color4[lines]);
  const std::unique_ptr<float[]> floats(new float[3 * lines]);
  for (std::size_t n = 0; n < face_plan.pastes().size(); ++n) {  // in order: each reads what those before it left
    const PastePlan& plan = face_plan.pastes()[n];
    if (is_empty(plan)) continue;
    const PlanarEdits<T> edits = views.of(n);
    texels.load(edits, threads);
    source.take(frame, plan, texels, threads);
    const Job<Frame, T> job{frame, plan, texels, edits, source.get(), has_colour(frame, plan), views.edits_first};
    if (texels.moves() && !moves_after(job)) source.finish();
    const int first = first_unit(frame, plan), units = last_unit(frame, plan) - first;
    parallel_for(units, kRowsPerChunk, threads, [&](int begin, int end, int worker) {
      const std::size_t start = length * static_cast<std::size_t>(worker);
      float* const own = floats.get() + 3 * start;
      const Sums sums{details.get() + start, own, own + length, own + 2 * length};
      for (int unit = first + begin; unit < first + end; ++unit) paste_unit(job, unit, sums);
    });
    if (!moves_after(job)) continue;
    source.finish();
    parallel_for(units, kRowsPerChunk, threads, [&](int begin, int end, int) {
      for (int unit = first + begin; unit < first + end; ++unit) move_unit(job, unit);
    });
  }
}

template void region_paste(const PackedFrame&, const FacePlan&, const EditViews<float>&, int);
template void region_paste(const PackedFrame&, const FacePlan&, const EditViews<Half>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const EditViews<float>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const EditViews<Half>&, int);

}  // namespace lgin::cpu
