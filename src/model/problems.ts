/**
 * Of a document's mistakes, so many are looked for and listed: a megabyte of unknown fields, each compared with every known
 * name, would take seconds, and their list would hold the event loop for a third of one.
 */
export const MAX_PROBLEMS = 100;
