// Markup by tagged template: what is interpolated is escaped, unless it is markup already. Lists are joined.

export class Markup {
  readonly text: string
  constructor(text: string) { this.text = text }
  toString(): string { return this.text }
}
export type Html = Markup

/** Text as HTML text or attribute value. */
export const escape = (text: string): string => text.replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`)

const render = (value: unknown): string =>
  value instanceof Markup ? value.text : Array.isArray(value) ? value.map(render).join('') : value === null || value === undefined || value === false ? '' : escape(String(value))

/** html`<p>${text}</p>` */
export const html = Object.assign(
  (strings: TemplateStringsArray, ...values: unknown[]): Html => new Markup(strings.reduce((out, s, i) => out + render(values[i - 1]) + s)),
  { /** Text that is markup already. */ raw: (text: string): Html => new Markup(text) },
)
