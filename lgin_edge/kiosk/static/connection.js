// The WebSocket to the kiosk, as lgin_edge/kiosk/protocol.py describes it: frames up, changed frames down, never more than
// a window of them on their way. It opens itself again when the kiosk was restarted.

const WHY = { 4503: "full", 4504: "full_address" }; // by the code with which the kiosk closed it
const AGAIN_MS = [300, 600, 1200, 2500]; // before each new attempt; the last one for all later ones

export class Connection {
  /**
   * @param {number} window  frames that may be on their way
   * @param {() => object} start  the first message of each connection
   * @param {object} on  frame(head, original, file), strip(head, files), still(message), clip(message), problem(message), lost(why)
   */
  constructor(window, start, on) {
    this.window = window;
    this.start = start;
    this.on = on;
    this.number = 0;
    this.originals = new Map(); // of the frames on their way: number -> ImageBitmap
    this.attempts = 0;
    this.open();
  }

  open() {
    this.ready = false;
    const socket = (this.socket = new WebSocket(`${location.origin.replace("http", "ws")}/live`));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.send(JSON.stringify(this.start()));
    socket.onmessage = ({ data }) => this.hear(data);
    socket.onclose = ({ code }) => this.again(WHY[code] ?? "reconnecting");
  }

  again(why) {
    this.ready = false;
    this.forgetOriginals(Infinity);
    if (this.closed) return;
    this.on.lost(why);
    const wait = AGAIN_MS[Math.min(this.attempts++, AGAIN_MS.length - 1)];
    this.timer = setTimeout(() => this.open(), wait);
  }

  /** Whether a frame can be sent now. */
  get free() {
    return this.ready && this.originals.size < this.window && this.socket.bufferedAmount === 0;
  }

  /** Send a frame: a JPEG, and the picture that it was made of, which comes back with the answer. */
  show(jpeg, original) {
    const number = this.number++;
    this.originals.set(number, original);
    const head = new DataView(new ArrayBuffer(4));
    head.setUint32(0, number);
    this.send(new Blob([head, jpeg]));
  }

  /** Send a command; false if there is no connection now. */
  say(message) {
    if (this.ready) this.send(JSON.stringify(message));
    return this.ready;
  }

  /** Ask for a picture of this frame, a JPEG; false if there is no connection now. */
  still(jpeg) {
    if (!this.say({ type: "still", attached: true })) return false;
    this.send(new Blob([new Uint8Array(4), jpeg])); // its number does not count
    return true;
  }

  /** Send, unless the kiosk is closing the connection just now; `onclose` tells it. */
  send(data) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  hear(data) {
    if (this.closed) return;
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "started") {
        this.ready = true;
        this.attempts = 0;
      } else this.on[message.type](message);
      return;
    }
    const length = new DataView(data).getUint32(0);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    let at = 4 + length;
    const files = (head.sizes ?? [data.byteLength - at]).map((size) => {
      at += size;
      return new Blob([new Uint8Array(data, at - size, size)], { type: "image/jpeg" });
    });
    if (head.type === "strip") {
      this.on.strip(head, files);
      return;
    }
    const original = this.originals.get(head.number);
    this.originals.delete(head.number);
    this.forgetOriginals(head.number);
    this.on.frame(head, original, files[0]);
  }

  forgetOriginals(upTo) {
    for (const [number, original] of this.originals) {
      if (number > upTo) continue;
      original.close();
      this.originals.delete(number);
    }
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket.close();
    this.forgetOriginals(Infinity);
  }
}
