// The edits of a line of pixels; edits_at, a batch of neighbours at a time. Included once for each instruction set, in a
// namespace of its own: whatever is called in here is inlined.

typedef float Color8 __attribute__((vector_size(32)));

// Two neighbours as one vector.
inline Color8 load_two(const Texel* texel) {
  Color8 two;
  std::memcpy(&two, texel, sizeof two);
  return two;
}
inline Color4 first_of(const Color8& two) { return Color4{two[0], two[1], two[2], two[3]}; }
inline Color4 second_of(const Color8& two) { return Color4{two[4], two[5], two[6], two[7]}; }

// `bilerp`, its columns in one vector.
inline Color4 sample_texel(const Texels& texels, const Taps& taps, int c) {
  const Texel* const p = texels.corner + taps.index[c];
  const Color8 columns = lerp(load_two(p), load_two(p + texels.stride()), taps.fy[c]);
  return lerp(first_of(columns), second_of(columns), taps.fx[c]);
}

// Taps of a view's texels without the window.
inline void locate_taps(const ViewMap& map, const Line& line, const Texels& texels, int first, int count, Taps* taps) {
  const float size = static_cast<float>(texels.size);
  const int stride = texels.stride();
  for (int c = 0; c < count; ++c) {
    const Local t = local(map, line.dx(first + c), line.dy);
    const Tap x = tap<false>(t.tx * size + 0.5f, 0, 0);
    const Tap y = tap<false>(t.ty * size + 0.5f, 0, 0);
    taps->index[c] = y.low * stride + x.low;
    taps->fx[c] = x.fraction;
    taps->fy[c] = y.fraction;
  }
}

// w_0 s and w_0 m.
inline void sample_pairs(const Pair* pairs, int stride, const Taps& taps, int first, int count, const Sums& sums) {
  for (int c = 0; c < count; ++c) {
    const Pair* const p = pairs + taps.index[c];
    Color4 upper, lower;
    std::memcpy(&upper, p, sizeof upper);
    std::memcpy(&lower, p + stride, sizeof lower);
    const Color4 columns = lerp(upper, lower, taps.fy[c]);
    sums.grey[first + c] = lerp(columns[0], columns[2], taps.fx[c]);
    sums.skin[first + c] = lerp(columns[1], columns[3], taps.fx[c]);
  }
  for (int c = 0; c < count; ++c) {
    sums.grey[first + c] = taps.weight[c] * sums.grey[first + c];
    sums.skin[first + c] = taps.weight[c] * sums.skin[first + c];
  }
}

// A line's sums; returns the positions inside the face's square.
inline Span sum_views(const PastePlan& plan, const EditTexels& edits, const Line& line, const Sums& sums) {
  const Span face = inside_span(plan.views[0], line, Span{0, line.count});
  std::fill(sums.detail + face.begin, sums.detail + face.end, Color4{});
  const bool pairs = edits.greys() || edits.draws();
  for (int v = 0; v < kViews; ++v) {
    const ViewMap map = plan.views[v];
    const Texels texels = edits.view(v);
    const Span span = v == 0 ? face : inside_span(map, line, face);
    for (int first = span.begin; first < span.end; first += kBatch) {
      const int count = std::min(kBatch, span.end - first);
      Taps taps;
      locate_taps(map, line, texels, first, count, &taps);
      for (int c = 0; c < count; ++c) {
        const Local t = local(map, line.dx(first + c), line.dy);
        taps.weight[c] = window(t.tx, map.inverse_taper) * window(t.ty, map.inverse_taper);
      }
      for (int c = 0; c < count; ++c) sums.detail[first + c] += taps.weight[c] * sample_texel(texels, taps, c);
      if (v > 0) continue;
      std::copy_n(taps.weight, count, sums.weight + first);
      if (pairs) sample_pairs(edits.pairs(), texels.stride(), taps, first, count, sums);
    }
  }
  return face;
}

template <class T>
inline void sample_lines(const T* lines, int size, const float* qx, const float* qy, int count, float* line) {
  int index[kBatch], right[kBatch], below[kBatch];
  float fx[kBatch], fy[kBatch], p00[kBatch], p01[kBatch], p10[kBatch], p11[kBatch];
  const float side = static_cast<float>(size);
  for (int c = 0; c < count; ++c) {
    const Tap x = tap<true>(between(qx[c], 0.0f, 1.0f) * side + 0.5f, -1, size);
    const Tap y = tap<true>(between(qy[c], 0.0f, 1.0f) * side + 0.5f, -1, size);
    index[c] = y.low * size + x.low;
    right[c] = x.high - x.low;
    below[c] = (y.high - y.low) * size;
    fx[c] = x.fraction;
    fy[c] = y.fraction;
  }
  for (int c = 0; c < count; ++c) {
    const T* const p = lines + index[c];
    p00[c] = to_float(p[0]);
    p01[c] = to_float(p[right[c]]);
    p10[c] = to_float(p[below[c]]);
    p11[c] = to_float(p[below[c] + right[c]]);
  }
  for (int c = 0; c < count; ++c) line[c] = bilerp(p00[c], p01[c], p10[c], p11[c], fx[c], fy[c]);
}

// How far the frame is read from each position of a batch, of samples of the coarse maps and of w_0.
inline void work_out_moves(const PastePlan& plan, const Line& line, int first, int count, const Color4* coarse,
                           const float* weight, EditBatch* batch) {
  const ViewMap map = plan.views[0];
  float flow_x[kBatch], flow_y[kBatch];
  for (int c = 0; c < count; ++c) {
    flow_x[c] = coarse[c][0];
    flow_y[c] = coarse[c][1];
  }
  int moving = 0;
  for (int c = 0; c < count; ++c) {
    const Local t = local(map, line.dx(first + c), line.dy);
    const Move move = move_of(plan, t, weight[c] * flow_x[c], weight[c] * flow_y[c]);
    batch->move_x[c] = move.x;
    batch->move_y[c] = move.y;
    moving |= (move.x != 0.0f) | (move.y != 0.0f);
  }
  batch->moves = moving != 0;
}

// The same where nothing else is worked out.
inline void moves_of(const PastePlan& plan, const EditTexels& texels, const Line& line, int first, int count,
                     EditBatch* batch) {
  const ViewMap map = plan.views[0];
  Taps taps;
  Color4 coarse[kBatch];
  locate_taps(map, line, texels.coarse(), first, count, &taps);
  for (int c = 0; c < count; ++c) coarse[c] = sample_texel(texels.coarse(), taps, c);
  for (int c = 0; c < count; ++c) {
    const Local t = local(map, line.dx(first + c), line.dy);
    taps.weight[c] = window(t.tx, map.inverse_taper) * window(t.ty, map.inverse_taper);
  }
  work_out_moves(plan, line, first, count, coarse, taps.weight, batch);
}

template <class T>
void work_out(const PastePlan& plan, const EditTexels& texels, const PlanarEdits<T>& edits, const Line& line, int first,
              int count, const Sums& sums, bool moves_first, EditBatch* batch) {
  const ViewMap map = plan.views[0];
  const float strength = plan.strength;
  float gain[kBatch], of_lines[kBatch];
  for (int c = 0; c < count; ++c) gain[c] = sums.detail[first + c][3];
  Color4 coarse[kBatch];
  const bool moves = moves_first && texels.moves();
  if (texels.draws() || moves) {
    Taps taps;
    locate_taps(map, line, texels.coarse(), first, count, &taps);
    for (int c = 0; c < count; ++c) coarse[c] = sample_texel(texels.coarse(), taps, c);
  }
  if (texels.draws()) {
    float qx[kBatch], qy[kBatch];
    for (int c = 0; c < count; ++c) {
      qx[c] = coarse[c][2];
      qy[c] = coarse[c][3];
    }
    sample_lines(edits.lines, edits.line_size, qx, qy, count, of_lines);
    for (int c = 0; c < count; ++c) of_lines[c] = light_of_lines(strength, sums.skin[first + c], of_lines[c]);
    for (int c = 0; c < count; ++c) batch->light[c] = light(strength, gain[c], of_lines[c]);
  } else {
    for (int c = 0; c < count; ++c) {
      batch->light[c] = between(1.0f + number_or_0(strength * gain[c]), 0.0f, kMostGain);
    }
  }
  if (texels.greys()) {
    for (int c = 0; c < count; ++c) batch->grey[c] = greying(strength, sums.grey[first + c]);
  } else {
    std::fill_n(batch->grey, count, 0.0f);
  }
  if (!moves_first && texels.draws() && edits.lines_keep_colour) {
    for (int c = 0; c < count; ++c) batch->grey[c] = grey_that_keeps_colour(batch->grey[c], of_lines[c]);
  }
  batch->moves = false;
  if (moves) work_out_moves(plan, line, first, count, coarse, sums.weight + first, batch);
}

// The pixels of a batch read where they move from, the first three lanes in the frame's own order. `bicubic`, lane by lane.
inline void move_pixels(const Snapshot& source, const PastePlan& plan, const Line& line, int first, int count,
                        const EditBatch& batch, Color4* pixels) {
  int index[kBatch];
  float x0[kBatch], x1[kBatch], x2[kBatch], x3[kBatch], y0[kBatch], y1[kBatch], y2[kBatch], y3[kBatch];
  for (int c = 0; c < count; ++c) {
    const Whole x = whole(line.dx(first + c) + batch.move_x[c]), y = whole(line.dy + batch.move_y[c]);
    index[c] = source.index(y.index + plan.origin_y, x.index + plan.origin_x);
    const Cubic cx = cubic(x.fraction), cy = cubic(y.fraction);
    x0[c] = cx.w0, x1[c] = cx.w1, x2[c] = cx.w2, x3[c] = cx.w3;
    y0[c] = cy.w0, y1[c] = cy.w1, y2[c] = cy.w2, y3[c] = cy.w3;
  }
  const std::ptrdiff_t stride = source.stride();
  const Color4 zero{}, most = zero + 255.0f;
  for (int c = 0; c < count; ++c) {
    const Texel* const p = source.pixels() + index[c] - stride - 1;
    const Texel* const q = p + 2;
    const Color8 low = ((y0[c] * load_two(p) + y1[c] * load_two(p + stride)) + y2[c] * load_two(p + 2 * stride)) +
                       y3[c] * load_two(p + 3 * stride);
    const Color8 high = ((y0[c] * load_two(q) + y1[c] * load_two(q + stride)) + y2[c] * load_two(q + 2 * stride)) +
                        y3[c] * load_two(q + 3 * stride);
    const Color8 wl{x0[c], x0[c], x0[c], x0[c], x1[c], x1[c], x1[c], x1[c]};
    const Color8 wh{x2[c], x2[c], x2[c], x2[c], x3[c], x3[c], x3[c], x3[c]};
    const Color8 columns = wl * low + wh * high;  // the even ones, the odd ones
    const Color4 v = first_of(columns) + second_of(columns);
    const Color4 above = v > zero ? v : zero;
    pixels[c] = above < most ? above : most;
  }
}

// Luma in every lane, from lanes in the order R, G, B or B, G, R. luma_of.
inline Color4 lanes_luma(const Color4& v) {
  const Color4 share = Color4{0.299f, 0.587f, 0.114f, 0.0f} * v;
  const float y = (share[0] + share[2]) + share[1];
  return Color4{y, y, y, y};
}
inline Color4 lanes_luma_bgr(const Color4& v) {
  const Color4 share = Color4{0.114f, 0.587f, 0.299f, 0.0f} * v;
  const float y = (share[2] + share[0]) + share[1];
  return Color4{y, y, y, y};
}

// The edits of a row; and if they move after that, then into the copy.
template <class T>
void paste_row(const Job<PackedFrame, T>& job, int row, const Sums& sums) {
  const PastePlan& plan = job.plan;
  const PackedFrame& frame = job.frame;
  const Line line = pixel_line(plan, row);
  const Span span = sum_views(plan, job.texels, line, sums);
  const bool bgr = job.texels.order() == Order::bgr;
  const PackedTarget target{frame.offset[0], frame.offset[1], frame.offset[2], job.texels.order()};
  const Color4 zero{}, most = zero + 255.0f;
  Texel* const copy = moves_after(job) ? job.copy.pixel(row, plan.column_begin) : nullptr;
  for (int first = span.begin; first < span.end; first += kBatch) {
    const int count = std::min(kBatch, span.end - first);
    EditBatch batch;
    Color4 pixels[kBatch];
    work_out(plan, job.texels, job.edits, line, first, count, sums, !job.edits_first, &batch);
    if (batch.moves) move_pixels(job.copy, plan, line, first, count, batch, pixels);
    for (int c = 0; c < count; ++c) {
      const int k = first + c;
      std::uint8_t* const p = frame.address(row, plan.column_begin + k);
      const bool moved = batch.moves && (batch.move_x[c] != 0.0f || batch.move_y[c] != 0.0f);
      Color4 v = moved ? pixels[c] : target.load(p);
      if (batch.grey[c] != 0.0f) v = lerp(v, bgr ? lanes_luma_bgr(v) : lanes_luma(v), batch.grey[c]);
      Color4 d = plan.scale * sums.detail[k];
      d = d == d ? d : zero;
      if (!job.coloured) d = bgr ? lanes_luma_bgr(d) : lanes_luma(d);
      const Color4 level = batch.light[c] * v + d;
      const Color4 above = level > zero ? level : zero;
      const Int4 bytes = __builtin_convertvector((above < most ? above : most) + 0.5f, Int4);
      if (copy) {
        const Color4 edited = __builtin_convertvector(bytes, Color4);
        std::memcpy(copy + k, &edited, sizeof edited);
      } else {
        target.store(p, bytes);
      }
    }
  }
}

// A row of the frame from what was edited into the copy.
template <class T>
void move_row(const Job<PackedFrame, T>& job, int row) {
  const PastePlan& plan = job.plan;
  const PackedFrame& frame = job.frame;
  const Line line = pixel_line(plan, row);
  const Span span = inside_span(plan.views[0], line, Span{0, line.count});
  const PackedTarget target{frame.offset[0], frame.offset[1], frame.offset[2], job.texels.order()};
  const Texel* const copy = job.copy.pixel(row, plan.column_begin);
  for (int first = span.begin; first < span.end; first += kBatch) {
    const int count = std::min(kBatch, span.end - first);
    EditBatch batch;
    Color4 pixels[kBatch];
    moves_of(plan, job.texels, line, first, count, &batch);
    if (batch.moves) move_pixels(job.copy, plan, line, first, count, batch, pixels);
    for (int c = 0; c < count; ++c) {
      const bool moved = batch.moves && (batch.move_x[c] != 0.0f || batch.move_y[c] != 0.0f);
      const Color4 v = moved ? pixels[c] : load_texel(copy + first + c);
      target.store(frame.address(row, plan.column_begin + first + c), __builtin_convertvector(v + 0.5f, Int4));
    }
  }
}
