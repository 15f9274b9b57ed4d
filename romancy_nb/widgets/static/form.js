// The live form of a question: an anywidget module.
//
// What it sends is an answer; what it gets back is that the answer is recorded, or what is wrong with it, field by field.

const BADGES = { open: ["◷", "waits for an answer"], answered: ["✓", "answered"], over: ["⊘", "not asked any more"] };

function head(form, id) {
  const [mark, words] = BADGES[form.status] ?? BADGES.over;
  return make(
    "header",
    {},
    make("div", { class: "rn-top" },
      make("div", { class: "rn-question", id, role: "heading", "aria-level": "3", text: form.question.join("\n") }),
      make("span", { class: "rn-badge" }, make("span", { "aria-hidden": "true", text: `${mark} ` }), make("span", { text: words }))),
    make("div", { class: "rn-faint rn-about" }, form.about, ...told(form.when)),
  );
}

function answered(form) {
  const rows = form.answers.map(([label, value]) => make("div", { class: "rn-said" }, make("dt", { text: label }), make("dd", { text: value })));
  const answer = rows.length ? make("dl", {}, ...rows) : form.answer ? make("div", { class: "rn-answer", text: form.answer }) : null;
  return make("div", { class: "rn-ended" }, answer, make("div", { class: "rn-faint" }, ...told(form.ended)));
}

function render({ model, el }) {
  const view = fresh("view");
  const root = make("div", { class: "romancy-form" });
  sealed(root);
  el.append(root);
  root.addEventListener("pointerenter", () => shade(root));
  let current = null;
  let drawn = "";
  let sent = 0;

  const draw = () => {
    const form = model.get("form");
    const text = JSON.stringify(form);
    if (text === drawn) return;
    const hadFocus = root.contains(document.activeElement);
    drawn = text;
    current?.stop();
    current = form.status === "open" ? answerForm(form, (value) => model.send({ kind: "answer", number: `${view}:${++sent}`, value })) : null;
    const id = fresh("question");
    root.dataset.status = form.status;
    const body = make("section", { "aria-labelledby": id, tabindex: "-1" }, head(form, id), current ? current.node : answered(form));
    root.replaceChildren(body);
    shade(root);
    if (hadFocus) body.focus({ preventScroll: true });
  };
  const heard = (message) => {
    if (message?.number !== `${view}:${sent}` || !current) return;
    if (message.kind === "accepted") current.accepted(message.said);
    if (message.kind === "refused") current.refused(message.problems ?? [], message.said ?? "Refused.");
  };
  model.on("change:form", draw);
  model.on("msg:custom", heard);
  draw();
  return () => {
    current?.stop();
    model.off("change:form", draw);
    model.off("msg:custom", heard);
  };
}

export default { render };
