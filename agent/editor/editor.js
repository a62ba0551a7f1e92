// Puts an editor over each text area of code, which stays beneath: it is what the form posts, and all there is without
// JavaScript. Each editor lives in a shadow tree, whose styles come as constructed style sheets: the policy of the
// diary's pages refuses style elements.
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { PostgreSQL, SQLDialect, sql } from "@codemirror/lang-sql";
import {
  HighlightStyle, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting,
} from "@codemirror/language";
import { lintGutter, lintKeymap, linter } from "@codemirror/lint";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState, StateEffect } from "@codemirror/state";
import {
  EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";

const phrases = JSON.parse(document.currentScript.dataset.phrases);
const quietMilliseconds = 400;
const languages = {
  python: () => [python(), indentUnit.of("    "), EditorState.tabSize.of(4)],
  // What PostgreSQL knows, with the quotes of MariaDB's names.
  sql: () => [sql({ dialect: SQLDialect.define({ ...PostgreSQL.spec, identifierQuotes: '"`' }) }), indentUnit.of("    ")],
};

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.modifier, tags.operatorKeyword], color: "light-dark(#8a2f86, #e09bdc)", fontWeight: "600" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--good)" },
  { tag: [tags.number, tags.bool, tags.null, tags.self], color: "var(--busy)" },
  { tag: [tags.comment], color: "var(--soft)", fontStyle: "italic" },
  { tag: [tags.function(tags.variableName), tags.definition(tags.variableName), tags.className], color: "var(--link)" },
  { tag: [tags.typeName, tags.meta, tags.escape, tags.standard(tags.name)], color: "var(--warn)" },
  { tag: tags.invalid, color: "var(--bad)" },
]);

const look = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "var(--sheet)", border: "1px solid var(--strong-line)", borderRadius: "4px", fontSize: ".84rem" },
  "&.cm-focused": { outline: "2px solid var(--busy)", outlineOffset: "1px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", overflow: "auto", maxHeight: "80vh" },
  ".cm-content": { caretColor: "var(--ink)" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { color: "var(--soft)", backgroundColor: "var(--paper)", borderRight: "1px solid var(--line)" },
  ".cm-gutter-lint": { width: "1.2em" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "transparent" },
  "&.cm-focused .cm-activeLine, &.cm-focused .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--busy) 9%, transparent)" },
  ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": { backgroundColor: "color-mix(in srgb, var(--busy) 28%, transparent)" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "color-mix(in srgb, var(--good) 25%, transparent)" },
  "&.cm-focused .cm-nonmatchingBracket": { backgroundColor: "color-mix(in srgb, var(--bad) 25%, transparent)" },
  ".cm-selectionMatch": { backgroundColor: "var(--target)" },
  ".cm-searchMatch": { backgroundColor: "var(--target)", outline: "1px solid var(--warn)" },
  ".cm-searchMatch-selected": { backgroundColor: "color-mix(in srgb, var(--warn) 45%, transparent)" },
  ".cm-panels": { color: "var(--ink)", backgroundColor: "var(--paper)", borderColor: "var(--line)" },
  ".cm-panels-bottom": { borderTop: "1px solid var(--line)" },
  ".cm-panel.cm-search": { padding: ".4rem 1.8rem .4rem .6rem", fontFamily: "system-ui, sans-serif" },
  ".cm-panel.cm-search label": { fontSize: ".8rem", color: "var(--soft)" },
  ".cm-panel.cm-search [name=close]": { color: "var(--ink)", minWidth: "24px", minHeight: "24px", fontSize: "1.2rem" },
  ".cm-textfield": { color: "var(--ink)", backgroundColor: "var(--sheet)", border: "1px solid var(--strong-line)", borderRadius: "4px", fontSize: ".84rem", maxWidth: "100%" },
  ".cm-button": { color: "var(--ink)", backgroundImage: "none", backgroundColor: "var(--sheet)", border: "1px solid var(--strong-line)", borderRadius: "4px", fontSize: ".84rem" },
  ".cm-panel.cm-panel-lint ul [aria-selected]": { color: "var(--ink)", backgroundColor: "var(--hover)" },
  // In place of pictures, which the policy refuses: the diary's shapes, and lines below the text.
  ".cm-lint-marker": { content: "normal", width: "1.2em", textAlign: "center", fontWeight: "700", lineHeight: "1.5" },
  ".cm-lint-marker-error::before": { content: '"✕"', color: "var(--bad)" },
  ".cm-lint-marker-warning::before": { content: '"!"', color: "var(--warn)" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--bad)" },
  ".cm-lintRange-warning": { backgroundImage: "none", textDecoration: "underline wavy var(--warn)" },
  ".cm-tooltip": { color: "var(--ink)", backgroundColor: "var(--sheet)", border: "1px solid var(--strong-line)" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--bad)" },
  ".cm-diagnostic-warning": { borderLeftColor: "var(--warn)" },
});

// A script's own query is called like the file.
const renamed = StateEffect.define();
const isRenamed = (update) => update.transactions.some((each) => each.effects.some((effect) => effect.is(renamed)));

// What the server finds, shown in the margin, and as its own words below the editor.
function findings(area) {
  const told = document.getElementById(area.dataset.remarks);
  return async (view) => {
    const asked = new URLSearchParams({ script: area.value });
    for (const name of ["name", "client", "report"]) if (name in area.dataset) asked.set(name, area.dataset[name]);
    for (const name of ["csrfmiddlewaretoken", "file_name", "query"]) {
      const field = area.form.elements[name];
      if (field) asked.set(name, field.value);
    }
    let answer;
    try {
      const response = await fetch(area.dataset.lint, { method: "POST", body: asked, redirect: "error" });
      if (!response.ok) return [];
      answer = await response.json();
    } catch {
      return []; // the diary is out of reach, or wants a login: it says so when the text is saved
    }
    if (told && area.value === asked.get("script")) told.innerHTML = answer.html;
    return answer.findings.map((each) => placed(view.state.doc, each));
  };
}

// Columns are Python's, from 1. What concerns the whole script is told at its beginning.
function placed(doc, { line, column, text, kind }) {
  const on = doc.line(Math.min(Math.max(line, 1), doc.lines));
  const from = Math.min(on.from + Math.max(column - 1, 0), on.to);
  const word = /^\w+/.exec(doc.sliceString(from, on.to));
  return { from, to: word ? from + word[0].length : on.to, severity: kind, message: text };
}

function replace(area) {
  const label = document.querySelector(`label[for="${area.id}"]`);
  const hint = document.getElementById(area.dataset.hint);
  const place = document.createElement("div");
  const shadow = place.attachShadow({ mode: "open" });
  const height = `calc(${area.rows} * 1.5em + 8px)`;
  area.after(place);
  const view = new EditorView({
    parent: shadow,
    root: shadow,
    doc: area.value,
    extensions: [
      lineNumbers(), highlightActiveLineGutter(), highlightSpecialChars(), history(), drawSelection(), indentOnInput(),
      bracketMatching(), highlightActiveLine(), highlightSelectionMatches(), search(),
      syntaxHighlighting(colours),
      languages[area.dataset.code](),
      area.dataset.lint
        ? [linter(findings(area), { delay: quietMilliseconds, needsRefresh: isRenamed }), lintGutter()] : [],
      // Escape, then Tab, leaves the editor: CodeMirror's own way out.
      keymap.of([...defaultKeymap, ...searchKeymap, ...historyKeymap, ...lintKeymap, indentWithTab]),
      EditorState.phrases.of(phrases),
      EditorView.contentAttributes.of({ "aria-label": label.textContent, tabindex: "0" }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) area.value = update.state.doc.toString();
      }),
      look,
      EditorView.theme({ ".cm-content, .cm-gutter": { minHeight: height } }),
    ],
  });
  const describing = [document.getElementById(area.dataset.remarks), hint].filter(Boolean);
  view.contentDOM.ariaDescribedByElements = describing;
  label.addEventListener("click", () => view.focus());
  area.form.elements.file_name?.addEventListener("change", () => view.dispatch({ effects: renamed.of(null) }));
  area.style.display = "none";
  if (hint) hint.hidden = false;
}

for (const area of document.querySelectorAll("textarea[data-code]")) replace(area);
