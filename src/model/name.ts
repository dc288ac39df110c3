/** Names of spiders, page entries and item types. */
export const NAME_PATTERN = '^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$';
