/** Why the embedded database cannot run: one line for the operator, with the way out where there is one. */
export class EmbeddedServerError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message.replace(/\s+/g, ' ').trim(), options);
    this.name = 'EmbeddedServerError';
  }
}
