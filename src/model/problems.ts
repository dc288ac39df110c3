/**
 * Of a document's mistakes, so many are looked for and listed: a megabyte of unknown fields, each compared with every known
 * name, would take seconds, and their list would hold the event loop for a third of one.
 */
export const MAX_PROBLEMS = 100;

/** What may be wrong with a field: every `code` in the `errors` of an answer. docs/errors.md lists the same table. */
export const PROBLEMS = {
  unknown_field: 'there is no such field; the message names the nearest',
  required: 'a field is missing',
  wrong_type: 'a value of another type was found; nothing is converted in a body',
  bad_value: 'not a value that goes here, such as a word that is not on the list',
  unknown_word: 'not a word of a definition, as `as` and `meta` have them',
  out_of_range: 'a number outside its bounds',
  too_short: 'a text, list or object with too little in it',
  too_long: 'a text, list or object with too much in it',
  bad_format: 'a text of another form',
  bad_name: 'a name that is empty or too long, or has characters that no name has',
  bad_url: 'not an absolute http(s) URL without user name and password, or not a template of one',
  bad_host: 'not a host name alone',
  bad_header: 'not a header that may be set, or not a value of one',
  too_deep: 'nested too deep',
  too_complex: 'it took more time or memory to check than a definition may',
  invalid: 'it does not fit the schema of the body',
  conflict: 'parts that exclude each other',
  duplicate_name: 'two page entries have one name',
  duplicate_type: 'two items of one page have one type',
  unknown_name: 'no page entry, field, param or passed value has that name',
  unknown_param: 'a start URL names a param that there is not',
  unknown_connection: 'the operator has named no such database',
  unknown_spider: 'there is no stored spider, or no version of it, of that name',
  empty_field: 'nothing says what a field reads',
  empty_fields: 'an object without a field',
  too_many_fields: 'more fields than an item may have',
  bad_list: 'a list in a definition that is not a list of exactly one field',
  bad_selector: 'not a CSS selector, or one that cannot be used here',
  bad_xpath: 'not an XPath',
  bad_json: 'not a JMESPath',
  bad_path: 'not a type and properties, as `Product.brand.name`',
  bad_regex: 'not a regular expression in RE2 syntax',
  bad_locale: 'not a language tag',
  bad_schema: 'not a JSON Schema, or one that cannot be used here',
  no_kind: 'nothing says what a step of the pipeline does',
  no_condition: 'nothing says when a step drops an item',
  no_name: 'the spider needs a name for this',
  bad_query: 'not one SQL query',
  bad_params: 'a query has another number of parameters',
  bad_script: 'a script that cannot be loaded, or exports something else than is expected',
  scripts_off: 'this service runs no scripts',
  no_parse: 'a script without the callback `parse`',
} as const;
export type ProblemCode = keyof typeof PROBLEMS;
