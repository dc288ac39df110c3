/** The body of an answer in a content coding: what pieces become on the wire. */
export interface Body {
  /** Flushed: whoever has read it has all of the piece. */
  add(piece: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** The coding's end. What is cut off before it shows as incomplete. */
  end(): Uint8Array | Promise<Uint8Array>;
  /** Gives up what it holds; never throws. */
  close(): void;
}
