// Where pictures come from: the camera, or a photo that stands in for it. A source has
//   picture, width, height: what can be drawn, and its size in pixels;
//   camera: whether it is one;
//   next(): a promise of its next picture;
//   stop(): the end, after which nothing of it is left.

/**
 * The camera, with pictures of this longer side if it has them; ended() is called when it is taken away. Rejects with a DOMException (NotAllowedError, NotFoundError, ...), or SecurityError without https.
 */
export async function openCamera(video, side, ended) {
  if (!navigator.mediaDevices) throw new DOMException("no secure context", "SecurityError");
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: false,
    video: { facingMode: "user", width: { ideal: side }, height: { ideal: (side * 9) / 16 } },
  });
  for (const track of stream.getTracks()) track.onended = ended;
  video.srcObject = stream;
  await video.play();
  return {
    picture: video,
    camera: true,
    get width() { return video.videoWidth; },
    get height() { return video.videoHeight; },
    next: () => new Promise((resolve) => {
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
      else setTimeout(resolve, 33);
    }),
    stop() {
      for (const track of stream.getTracks()) track.stop();
      video.srcObject = null;
    },
  };
}

/** A photo out of a file. Rejects if the browser cannot read it as a picture. */
export async function openPhoto(file) {
  const picture = await createImageBitmap(file);
  return {
    picture,
    camera: false,
    width: picture.width,
    height: picture.height,
    next: () => new Promise((resolve) => setTimeout(resolve, 100)),
    stop: () => picture.close(),
  };
}
