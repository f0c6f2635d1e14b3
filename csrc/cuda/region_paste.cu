#include <algorithm>

#include "runtime.h"
#include "staged.h"

namespace lgin::cuda {
namespace {

// Threads of a block: a tile of cells, a cell each.
constexpr unsigned kColumns = 32, kRows = 8;
// More blocks than run at once on any GPU would begin only to find no tile: a 4K frame has 32,400, a face of 600 px 1,400.
constexpr long long kMaxBlocks = 1024;
// Of a face at an age, however many there are.
constexpr long long kMinBlocks = 32;
constexpr long long kMaxPastings = 65535;  // the grid's depth

// What one thread changes: a pixel, or in NV12 a 2x2 block of pixels.
constexpr int cell_pixels(const PackedFrame*) { return 1; }
constexpr int cell_pixels(const Nv12Frame*) { return 4; }

// Rows of the grid that edits take.
constexpr unsigned planes(const PackedFrame*) { return 1; }
constexpr unsigned planes(const Nv12Frame*) { return 2; }

__device__ Rectangle cells_of(const PackedFrame&, const PastePlan& plan) {
  return Rectangle{plan.column_begin, plan.row_begin, plan.column_end, plan.row_end};
}
__device__ Rectangle cells_of(const Nv12Frame&, const PastePlan& plan) {
  return Rectangle{plan.column_begin / 2, plan.row_begin / 2, (plan.column_end + 1) / 2, (plan.row_end + 1) / 2};
}

template <class T>
__device__ void change_cell(const PackedFrame& frame, const PastePlan& plan, const PlanarResiduals<T>& residuals,
                            int row, int column) {
  Rgb d;
  if (!residual_at(plan, residuals, static_cast<float>(column - plan.origin_x),
                   static_cast<float>(row - plan.origin_y), &d)) {
    return;
  }
  std::uint8_t* const p = frame.address(row, column);
  p[frame.offset[0]] = changed_byte(p[frame.offset[0]], d.r);
  p[frame.offset[1]] = changed_byte(p[frame.offset[1]], d.g);
  p[frame.offset[2]] = changed_byte(p[frame.offset[2]], d.b);
}

// Its four Y, its U and its V.
template <class T>
__device__ void change_cell(const Nv12Frame& frame, const PastePlan& plan, const PlanarResiduals<T>& residuals,
                            int row, int column) {
  const float dx = static_cast<float>(2 * column - plan.origin_x);
  const float dy = static_cast<float>(2 * row - plan.origin_y);
  Rgb d;
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      if (!residual_at(plan, residuals, dx + static_cast<float>(j), dy + static_cast<float>(i), &d)) continue;
      std::uint8_t* const y = frame.luma_address(2 * row + i, 2 * column + j);
      *y = changed_byte(*y, luma_change(d));
    }
  }
  if (!residual_at(plan, residuals, dx + 0.5f, dy + 0.5f, &d)) return;
  std::uint8_t* const u = frame.chroma_address(row, column);
  std::uint8_t* const v = u + frame.x_stride;
  *u = changed_byte(*u, u_change(d));
  *v = changed_byte(*v, v_change(d));
}

__device__ PackedFrame moved(PackedFrame frame, std::ptrdiff_t bytes) {
  frame.data += bytes;
  return frame;
}
__device__ Nv12Frame moved(Nv12Frame frame, std::ptrdiff_t bytes) {
  frame.data += bytes;
  frame.chroma += bytes;
  return frame;
}

// What a block works on: a face at an age, by its place in the grid's depth.
struct Work {
  int face, age;
  std::size_t row;  // of the edits
};
__device__ Work work_of(const Pasting& what) {
  const int face = what.first + static_cast<int>(blockIdx.z) / what.ages, age = static_cast<int>(blockIdx.z) % what.ages;
  return Work{face, age, static_cast<std::size_t>(face) * static_cast<std::size_t>(what.ages) + static_cast<std::size_t>(age)};
}

// The grid does not know the face: its blocks take the tiles of the face's bounding box in turns. A face has fewer than
// 2^30 tiles, so that their numbers, and a grid added to them, fit.

// A rectangle of cells, in tiles.
struct Tiles {
  Rectangle cells;
  unsigned columns, count;
};
__device__ Tiles tiles_of(const Rectangle& cells) {
  const unsigned columns = (static_cast<unsigned>(cells.width()) + kColumns - 1) / kColumns;
  return Tiles{cells, columns, columns * ((static_cast<unsigned>(cells.height()) + kRows - 1) / kRows)};
}

// Call f(row, column) for the cells of tiles that the grid's blocks take in turns.
template <class F>
__device__ void each_cell(const Tiles& tiles, const F& f) {
  const Rectangle& cells = tiles.cells;
  for (unsigned tile = blockIdx.x; tile < tiles.count; tile += gridDim.x) {
    const int row = cells.y0 + static_cast<int>(tile / tiles.columns * kRows + threadIdx.y);
    const int column = cells.x0 + static_cast<int>(tile % tiles.columns * kColumns + threadIdx.x);
    if (row < cells.y1 && column < cells.x1) f(row, column);
  }
}

__device__ bool is_empty(const PastePlan& plan) {
  return plan.column_begin >= plan.column_end || plan.row_begin >= plan.row_end;
}

template <class Frame, class T>
__global__ void paste_kernel(const Frame* __restrict__ source, const PastePlan* __restrict__ plans, Pasting what,
                             Views<const T> views) {
  const Work work = work_of(what);
  const PastePlan& plan = plans[work.face];
  if (is_empty(plan)) return;
  const Frame frame = moved(*source, work.age * what.age_step);
  const PlanarResiduals<T> residuals{views.face + work.row * face_elements(views),
                                     views.patches + work.row * patch_elements(views), views.face_size, views.patch_size};
  each_cell(tiles_of(cells_of(frame, plan)), [&](int row, int column) { change_cell(frame, plan, residuals, row, column); });
}

// ---- edits, from format 2 on ----------------------------------------------------------------------------------------

// The block's frame at another address: a copy, from which it moves.
__device__ PackedFrame at_address(PackedFrame frame, std::uint8_t* data) {
  frame.data = data;
  return frame;
}
__device__ Nv12Frame at_address(Nv12Frame frame, std::uint8_t* data) {
  frame.chroma = data + (frame.chroma - frame.data);
  frame.data = data;
  return frame;
}

// The cells that a face may read.
__device__ Rectangle read_cells(const PackedFrame& frame, const PastePlan& plan) {
  return Rectangle{clamp_int(plan.column_begin - kMoveReach, 0, frame.width),
                   clamp_int(plan.row_begin - kMoveReach, 0, frame.height),
                   clamp_int(plan.column_end + kMoveReach, 0, frame.width),
                   clamp_int(plan.row_end + kMoveReach, 0, frame.height)};
}
__device__ Rectangle read_cells(const Nv12Frame& frame, const PastePlan& plan) {
  return Rectangle{clamp_int(plan.column_begin / 2 - kMoveReach, 0, frame.width / 2),
                   clamp_int(plan.row_begin / 2 - kMoveReach, 0, frame.height / 2),
                   clamp_int(plan.column_end / 2 + kMoveReach, 0, frame.width / 2),
                   clamp_int(plan.row_end / 2 + kMoveReach, 0, frame.height / 2)};
}

// Copy a cell; whether it has colour.
__device__ bool copy_cell(const PackedFrame& from, const PackedFrame& to, int row, int column) {
  const std::uint8_t* const p = from.address(row, column);
  std::uint8_t* const q = to.address(row, column);
  for (const std::ptrdiff_t channel : from.offset) q[channel] = p[channel];
  return p[from.offset[0]] != p[from.offset[1]] || p[from.offset[0]] != p[from.offset[2]];
}
__device__ bool copy_cell(const Nv12Frame& from, const Nv12Frame& to, int row, int column) {
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) *to.luma_address(2 * row + i, 2 * column + j) = *from.luma_address(2 * row + i, 2 * column + j);
  }
  const std::uint8_t* const p = from.chroma_address(row, column);
  std::uint8_t* const q = to.chroma_address(row, column);
  q[0] = p[0];
  q[to.x_stride] = p[from.x_stride];
  return p[0] != 128 || p[from.x_stride] != 128;
}

__device__ bool cell_inside(const PackedFrame&, const PastePlan& plan, int row, int column) {
  return inside(local(plan.views[0], static_cast<float>(column - plan.origin_x), static_cast<float>(row - plan.origin_y)));
}
__device__ bool cell_inside(const Nv12Frame&, const PastePlan& plan, int row, int column) {
  return inside(local(plan.views[0], static_cast<float>(2 * column - plan.origin_x) + 0.5f,
                      static_cast<float>(2 * row - plan.origin_y) + 0.5f));
}

// Keeps what the face reads, and whether its square has colour. Two faces may keep the same pixels.
template <class Frame>
__global__ void keep_kernel(const Frame* __restrict__ source, const PastePlan* __restrict__ plans, Pasting what,
                            std::uint8_t* scratch, std::uint8_t* coloured) {
  const Work work = work_of(what);
  const PastePlan& plan = plans[work.face];
  if (is_empty(plan)) return;
  const Frame frame = moved(*source, work.age * what.age_step);
  const Frame kept = at_address(frame, scratch + work.age * what.age_step);
  each_cell(tiles_of(read_cells(frame, plan)), [&](int row, int column) {
    if (copy_cell(frame, kept, row, column) && cell_inside(frame, plan, row, column)) coloured[work.row] = 1;
  });
}

// What a row of the grid's blocks edits, a cell each thread: pixels. Of NV12 the first row takes the Y of pixels, the second the U
// and V of 2x2 blocks: a thread that took all of a block would work five times as long, and a small face has few threads.
__device__ Rectangle edited_cells(const PackedFrame& frame, const PastePlan& plan) { return cells_of(frame, plan); }
__device__ Rectangle edited_cells(const Nv12Frame& frame, const PastePlan& plan) {
  const Rectangle cells = cells_of(frame, plan);
  const int side = blockIdx.y == 0 ? 2 : 1;
  return Rectangle{side * cells.x0, side * cells.y0, side * cells.x1, side * cells.y1};
}

__device__ void put(const PackedFrame& frame, int row, int column, const Rgb& level) {
  std::uint8_t* const p = frame.address(row, column);
  p[frame.offset[0]] = rounded(level.r);
  p[frame.offset[1]] = rounded(level.g);
  p[frame.offset[2]] = rounded(level.b);
}
__device__ void put(const Nv12Frame& frame, int row, int column, const Yuv& yuv) {
  if (blockIdx.y == 0) {
    *frame.luma_address(row, column) = rounded(yuv.y);
  } else {
    std::uint8_t* const u = frame.chroma_address(row, column);
    u[0] = rounded(yuv.u);
    u[frame.x_stride] = rounded(yuv.v);
  }
}

// The position of a cell of `edited_cells`.
struct Position {
  float dx, dy;
};
__device__ Position position_of(const PackedFrame&, const PastePlan& plan, int row, int column) {
  return Position{static_cast<float>(column - plan.origin_x), static_cast<float>(row - plan.origin_y)};
}
__device__ Position position_of(const Nv12Frame&, const PastePlan& plan, int row, int column) {
  const int scale = blockIdx.y == 0 ? 1 : 2;
  const float centre = blockIdx.y == 0 ? 0.0f : 0.5f;
  return Position{static_cast<float>(scale * column - plan.origin_x) + centre,
                  static_cast<float>(scale * row - plan.origin_y) + centre};
}

// Move a cell. (A pixel that stays is its own cubic.)
__device__ void move_cell(const PackedFrame& from, const PackedFrame& to, const PastePlan& plan, const Position& at, const Move& move,
                          int row, int column) {
  put(to, row, column, moved_pixel(from, plan, at.dx + move.x, at.dy + move.y));
}
__device__ void move_cell(const Nv12Frame& from, const Nv12Frame& to, const PastePlan& plan, const Position& at, const Move& move,
                          int row, int column) {
  put(to, row, column, yuv_at(from, plan, at.dx + move.x, at.dy + move.y, !is_still(move)));
}

// What an edit makes of a cell.
__device__ Rgb edited_cell(const PackedFrame& from, const PastePlan& plan, const PixelEdit& edit, const Position& at, int row,
                           int column, bool coloured) {
  const Rgb v = is_still(edit.move) ? from.pixel(row, column) : moved_pixel(from, plan, at.dx + edit.move.x, at.dy + edit.move.y);
  return edited(edit, v, coloured);
}
__device__ Yuv edited_cell(const Nv12Frame& from, const PastePlan& plan, const PixelEdit& edit, const Position& at, int, int,
                           bool coloured) {
  return edited_yuv(from, plan, edit, at.dx, at.dy, coloured);
}

// What the threads of a block share: in every thread these would take registers that it does not have.
template <class Frame, class T>
struct Shared {
  Frame frame, kept;
  Tiles tiles;
  PlanarEdits<T> edits;

  __device__ void load(const Frame& source, const PastePlan& plan, const Pasting& what, const Work& work, const EditViews<T>& views,
                       std::uint8_t* scratch) {
    frame = moved(source, work.age * what.age_step);
    kept = at_address(frame, scratch + work.age * what.age_step);
    tiles = tiles_of(edited_cells(frame, plan));
    edits = views.of(static_cast<std::size_t>(work.face), static_cast<std::size_t>(work.age),
                     static_cast<std::size_t>(what.ages));
  }
};

// Edits from the copy into the frame; or, where they come first, from the frame into the copy, for `move_kernel`.
// At most 64 registers, so that four blocks run on a multiprocessor at once.
template <bool first, class Frame, class T>
__global__ void __launch_bounds__(kColumns * kRows, 4)
    edit_kernel(const Frame* __restrict__ source, const PastePlan* __restrict__ plans, Pasting what, EditViews<T> views,
                std::uint8_t* scratch, const std::uint8_t* coloured) {
  const Work work = work_of(what);
  const PastePlan& plan = plans[work.face];
  if (is_empty(plan)) return;
  __shared__ Shared<Frame, T> shared;
  if (threadIdx.x == 0 && threadIdx.y == 0) shared.load(*source, plan, what, work, views, scratch);
  __syncthreads();
  const bool has_colour = coloured[work.row] != 0;
  const Frame& from = first ? shared.frame : shared.kept;
  const Frame& to = first ? shared.kept : shared.frame;
  each_cell(shared.tiles, [&](int row, int column) {
    const Position at = position_of(from, plan, row, column);
    PixelEdit edit;
    if (edits_at<!first>(plan, shared.edits, at.dx, at.dy, &edit)) {
      put(to, row, column, edited_cell(from, plan, edit, at, row, column, has_colour));
    }
  });
}

// What was edited first, from the copy into the frame.
template <class Frame, class T>
__global__ void __launch_bounds__(kColumns * kRows, 4)
    move_kernel(const Frame* __restrict__ source, const PastePlan* __restrict__ plans, Pasting what, EditViews<T> views,
                std::uint8_t* scratch) {
  const Work work = work_of(what);
  const PastePlan& plan = plans[work.face];
  if (is_empty(plan)) return;
  __shared__ Shared<Frame, T> shared;
  if (threadIdx.x == 0 && threadIdx.y == 0) shared.load(*source, plan, what, work, views, scratch);
  __syncthreads();
  each_cell(shared.tiles, [&](int row, int column) {
    const Position at = position_of(shared.kept, plan, row, column);
    const Local t = local(plan.views[0], at.dx, at.dy);
    if (inside(t)) move_cell(shared.kept, shared.frame, plan, at, move_at(plan, shared.edits, t), row, column);
  });
}

// The grid of a paste: blocks for tiles of so many pixels, rows for planes, and a depth of faces and ages.
dim3 grid_of(const Pasting& what, long long tile_pixels, unsigned planes) {
  const long long depth = static_cast<long long>(what.faces) * what.ages;
  if (depth > kMaxPastings) throw DeviceError("region_paste: too many faces and ages for one launch; paste fewer at a time");
  const long long blocks = std::min((what.pixels - 1) / tile_pixels + 1, std::max(kMaxBlocks / depth, kMinBlocks));
  return dim3(static_cast<unsigned>(blocks), planes, static_cast<unsigned>(depth));
}

// The faces of a plan one after another, or all at once.
template <class Launch>
void each_pasting(const FacePlan& plan, const Launch& launch) {
  const long long pixels = static_cast<long long>(plan.width()) * plan.height();
  const int together = plan.disjoint() ? plan.count() : 1;
  for (int n = 0; n < plan.count(); n += together) launch(Pasting{n, together, 1, pixels, 0});
}

}  // namespace

template <class Frame, class T>
void launch_paste(const Block<Frame>& block, const Pasting& what, const Views<const T>& residuals, int device, void* stream) {
  const DeviceScope scope(device);
  launch("region_paste", paste_kernel<Frame, T>, grid_of(what, kColumns * kRows * cell_pixels(block.frame()), 1),
         dim3(kColumns, kRows), static_cast<cudaStream_t>(stream), block.frame(), block.pastes(), what, residuals);
}

template <class Frame, class T>
void launch_paste(const Block<Frame>& block, const Pasting& what, const EditViews<T>& edits, std::uint8_t* scratch,
                  std::uint8_t* coloured, int device, void* stream) {
  const DeviceScope scope(device);
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  const dim3 threads(kColumns, kRows);
  constexpr long long tile_pixels = kColumns * kRows;
  launch("region_paste", keep_kernel<Frame>, grid_of(what, tile_pixels, 1), threads, on, block.frame(), block.pastes(), what,
         scratch, coloured);
  const dim3 grid = grid_of(what, tile_pixels, planes(block.frame()));
  launch("region_paste", edits.edits_first ? edit_kernel<true, Frame, T> : edit_kernel<false, Frame, T>, grid, threads, on,
         block.frame(), block.pastes(), what, edits, scratch, coloured);
  if (!edits.edits_first) return;
  launch("region_paste", move_kernel<Frame, T>, grid, threads, on, block.frame(), block.pastes(), what, edits, scratch);
}

template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& plan, const Views<const T>& views, int device) {
  const DeviceScope scope(device);
  if (plan.count() == 0) return;
  const Staged<Frame> staged(frame, plan);
  const Buffer<T> face(face_elements(views) * plan.count());
  const Buffer<T> patches(patch_elements(views) * plan.count());
  face.upload(views.face, staged.stream());
  patches.upload(views.patches, staged.stream());
  const Views<const T> residuals{face.data(), patches.data(), views.face_size, views.patch_size};
  each_pasting(plan, [&](const Pasting& what) { launch_paste(staged.block(), what, residuals, device, staged.stream()); });
  staged.pixels().download(frame.data, staged.stream());
  staged.stream().synchronize();
}

template <class T>
std::size_t elements(const T* first, int channels, int size, int count) {
  const std::size_t side = static_cast<std::size_t>(size);
  return first ? static_cast<std::size_t>(channels) * static_cast<std::size_t>(count) * side * side : 0;
}

template <class Frame, class T>
void region_paste(const Frame& frame, const FacePlan& plan, const EditViews<T>& views, int device) {
  const DeviceScope scope(device);
  if (plan.count() == 0) return;
  const PlanarEdits<T>& host = views.first;
  const Staged<Frame> staged(frame, plan);
  const Buffer<T> face(elements(host.face, 6, host.face_size, plan.count()));
  const Buffer<T> patches(elements(host.patches, 4 * kRegions, host.patch_size, plan.count()));
  const Buffer<T> flow(elements(host.flow, 2, host.coarse_size, plan.count()));
  const Buffer<T> place(elements(host.place, 2, host.coarse_size, plan.count()));
  const Buffer<T> lines(elements(host.lines, 1, host.line_size, plan.count()));
  const Buffer<std::uint8_t> scratch(byte_count(frame)), coloured(static_cast<std::size_t>(plan.count()));
  check(cudaMemsetAsync(coloured.data(), 0, static_cast<std::size_t>(plan.count()), staged.stream()), "cudaMemsetAsync");
  face.upload(host.face, staged.stream());
  patches.upload(host.patches, staged.stream());
  flow.upload(host.flow, staged.stream());
  place.upload(host.place, staged.stream());
  lines.upload(host.lines, staged.stream());
  PlanarEdits<T> first = host;
  first.face = face.data();
  first.patches = patches.data();
  first.flow = flow.data();
  first.place = place.data();
  first.lines = lines.data();
  each_pasting(plan, [&](const Pasting& what) {
    launch_paste(staged.block(), what, EditViews<T>{first, views.edits_first}, scratch.data(), coloured.data(), device, staged.stream());
  });
  staged.pixels().download(frame.data, staged.stream());
  staged.stream().synchronize();
}

template void region_paste(const PackedFrame&, const FacePlan&, const EditViews<float>&, int);
template void region_paste(const PackedFrame&, const FacePlan&, const EditViews<Half>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const EditViews<float>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const EditViews<Half>&, int);
template void launch_paste(const Block<PackedFrame>&, const Pasting&, const EditViews<float>&, std::uint8_t*, std::uint8_t*, int, void*);
template void launch_paste(const Block<PackedFrame>&, const Pasting&, const EditViews<Half>&, std::uint8_t*, std::uint8_t*, int, void*);
template void launch_paste(const Block<Nv12Frame>&, const Pasting&, const EditViews<float>&, std::uint8_t*, std::uint8_t*, int, void*);
template void launch_paste(const Block<Nv12Frame>&, const Pasting&, const EditViews<Half>&, std::uint8_t*, std::uint8_t*, int, void*);
template void region_paste(const PackedFrame&, const FacePlan&, const Views<const float>&, int);
template void region_paste(const PackedFrame&, const FacePlan&, const Views<const Half>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const Views<const float>&, int);
template void region_paste(const Nv12Frame&, const FacePlan&, const Views<const Half>&, int);
template void launch_paste(const Block<PackedFrame>&, const Pasting&, const Views<const float>&, int, void*);
template void launch_paste(const Block<PackedFrame>&, const Pasting&, const Views<const Half>&, int, void*);
template void launch_paste(const Block<Nv12Frame>&, const Pasting&, const Views<const float>&, int, void*);
template void launch_paste(const Block<Nv12Frame>&, const Pasting&, const Views<const Half>&, int, void*);

}  // namespace lgin::cuda
