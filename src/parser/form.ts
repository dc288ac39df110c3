import type { RequestExtra } from '../model/request.ts';
import { type RequestParts, sentParts } from '../model/request_parts.ts';
import { type Document, type Element, textOf } from './dom.ts';

/** What is submitted: names with their values, in the order of the page. */
type Entry = [name: string, value: string];

export interface FormRequest {
  /** Absolute where the form says so, else relative to the page's base. */
  href: string;
  /** Null: a plain GET. */
  extra: Pick<RequestExtra, 'method' | 'headers' | 'body'> | null;
}

const CONTROLS = ['input', 'select', 'textarea', 'button'];
/** Inputs that are sent with a value of their own only when they are clicked, or whose value is a file. */
const NEVER = new Set(['button', 'reset', 'file', 'submit', 'image']);
const MAX_VALUE = 100_000;

/** The form that an element is, or is inside of; null where there is none. */
export function formAround(element: Element): Element | null {
  let form: Element | null = element;
  while (form !== null && form.name !== 'form') form = form.parent;
  return form;
}

/**
 * The request that a browser would make on a click on the form's first submit button: every control that is not disabled,
 * unchecked or without a name. Files are left out, and whatever the form's `enctype` says it is sent urlencoded.
 *
 * @param values override what the page has, by name; names that the form lacks are added
 * @param url of the page, which a form without `action` is sent to
 * @returns null for a form that is sent nowhere (`method="dialog"`)
 */
export function formRequest(
  form: Element,
  document: Document,
  values: Readonly<Record<string, string>>,
  url: string,
): FormRequest | null {
  const controls = controlsOf(form, document);
  const button = controls.find(isSubmit) ?? null;
  const method = (button?.attribute('formmethod') ?? form.attribute('method') ?? 'get').trim().toLowerCase();
  if (method === 'dialog') return null;
  const action = (button?.attribute('formaction') ?? form.attribute('action') ?? '').trim() || url;
  const entries = override(
    controls.flatMap((control) => (isSubmit(control) ? submitEntries(control, button) : entriesOf(control))),
    values,
  );
  const body = new URLSearchParams(entries).toString();
  if (method !== 'post') return { href: `${action.replace(/[?#].*$/s, '')}?${body}`, extra: null };
  const parts: RequestParts = {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body,
  };
  return { href: action, extra: sentParts(parts) };
}

/** The form's controls that are not disabled: those inside of it, and those that name it. */
function controlsOf(form: Element, document: Document): Element[] {
  const id = form.attribute('id') ?? null;
  return allControls(document).filter((element) => {
    const owner = element.attribute('form');
    const isInside = element.at > form.at && element.at <= form.last;
    return (owner === undefined ? isInside : owner === id) && !isDisabled(element);
  });
}

const controlsByDocument = new WeakMap<Document, Element[]>();

function allControls(document: Document): Element[] {
  let controls = controlsByDocument.get(document);
  if (controls === undefined) {
    controls = CONTROLS.flatMap((name) => document.byTag(name)).sort((a, b) => a.at - b.at);
    controlsByDocument.set(document, controls);
  }
  return controls;
}

/** By itself, or by a fieldset around it; what lies in that fieldset's first legend is not. */
function isDisabled(control: Element): boolean {
  if (control.attribute('disabled') !== undefined) return true;
  let below = control;
  for (let element = control.parent; element !== null; element = element.parent) {
    if (element.name === 'datalist') return true;
    if (element.name === 'fieldset' && element.attribute('disabled') !== undefined) {
      const legend = element.children.find((child) => typeof child !== 'string' && child.name === 'legend');
      if (legend !== below) return true;
    }
    below = element;
  }
  return false;
}

function typeOf(control: Element): string {
  const fallback = control.name === 'button' ? 'submit' : 'text';
  return (control.attribute('type') ?? fallback).trim().toLowerCase() || fallback;
}

function isSubmit(control: Element): boolean {
  if (control.name !== 'input' && control.name !== 'button') return false;
  const type = typeOf(control);
  return type === 'submit' || (type === 'image' && control.name === 'input');
}

/** Of the submit buttons only the one that is clicked is sent. */
function submitEntries(control: Element, button: Element | null): Entry[] {
  if (control !== button) return [];
  const name = control.attribute('name') ?? '';
  if (typeOf(control) === 'image') {
    const prefix = name === '' ? '' : `${name}.`;
    return [
      [`${prefix}x`, '0'],
      [`${prefix}y`, '0'],
    ];
  }
  return name === '' ? [] : [[name, control.attribute('value') ?? '']];
}

function entriesOf(control: Element): Entry[] {
  const name = control.attribute('name') ?? '';
  if (name === '' || control.name === 'button') return [];
  if (control.name === 'select') return selected(control).map((value) => [name, value]);
  if (control.name === 'textarea')
    return [
      [
        name,
        textOf(control, MAX_VALUE)
          .replace(/^\r?\n/, '')
          .replace(/\r\n|\r|\n/g, '\r\n'),
      ],
    ];
  const type = typeOf(control);
  if (NEVER.has(type)) return [];
  if (type === 'checkbox' || type === 'radio')
    return control.attribute('checked') === undefined ? [] : [[name, control.attribute('value') ?? 'on']];
  if (type === 'hidden' && name === '_charset_') return [[name, 'UTF-8']];
  return [[name, control.attribute('value') ?? '']];
}

/** The values of the selected options; of a list that shows one line, the first stands in where none is. */
function selected(select: Element): string[] {
  const options = optionsOf(select).filter((option) => !isDisabledOption(option));
  const chosen = options.filter((option) => option.attribute('selected') !== undefined);
  if (select.attribute('multiple') !== undefined) return chosen.map(optionValue);
  const isList = Number.parseInt(select.attribute('size') ?? '1', 10) > 1;
  const one = chosen.at(-1) ?? (isList ? undefined : options[0]);
  return one === undefined ? [] : [optionValue(one)];
}

function optionsOf(select: Element): Element[] {
  const inside = (element: Element): Element[] =>
    element.children.flatMap((child) => {
      if (typeof child === 'string') return [];
      if (child.name === 'option') return [child];
      return child.name === 'optgroup' ? inside(child) : [];
    });
  return inside(select);
}

function isDisabledOption(option: Element): boolean {
  const group = option.parent?.name === 'optgroup' ? option.parent : null;
  return option.attribute('disabled') !== undefined || (group !== null && group.attribute('disabled') !== undefined);
}

function optionValue(option: Element): string {
  return option.attribute('value') ?? textOf(option, MAX_VALUE).replace(/\s+/g, ' ').trim();
}

/** The first entry of a name takes the new value and the others go; new names come last. */
function override(entries: readonly Entry[], values: Readonly<Record<string, string>>): Entry[] {
  const rest = new Map(Object.entries(values));
  const kept = entries.flatMap(([name, value]): Entry[] => {
    if (!Object.hasOwn(values, name)) return [[name, value]];
    const given = rest.get(name);
    rest.delete(name);
    return given === undefined ? [] : [[name, given]];
  });
  return [...kept, ...rest];
}
