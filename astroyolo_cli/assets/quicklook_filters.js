// The form that chooses rows: by class, score, brightness and flags.

const form = document.getElementById("filters");

function openFilters() {
  const present = Object.keys(KINDS).filter((kind) => kinds.includes(kind));
  document.getElementById("kinds").append(...present.map(kindBox));
  const ranges = [rangeInputs("score", "score"), rangeInputs("bright", brightness === "mag" ? "mag" : "S/N")];
  document.getElementById("ranges").append(...ranges);
  document.getElementById("bits").append(...bitsPresent().map(bitBox));
  document.getElementById("flags").hidden = bitsPresent().length === 0;
  form.addEventListener("input", readFilters);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(readFilters));
}

const bitsPresent = () => Object.keys(data.flags).filter((bit) => (values.get("flags") || []).some((flags) => flags & bit));

function labelled(input, text, picture) {
  const label = document.createElement("label");
  label.append(input, ...(picture ? [picture] : []), document.createTextNode(text));
  return label;
}

function checkbox(name, value, checked) {
  const input = document.createElement("input");
  Object.assign(input, { type: "checkbox", name, value, defaultChecked: checked, checked });
  return input;
}

function kindBox(kind) {
  const number = kinds.filter((one) => one === kind).length;
  const icon = document.createElement("canvas");
  Object.assign(icon, { width: 20, height: 16 });
  strokeBox(icon.getContext("2d"), KINDS[kind], [3, 2, 14, 12]);
  return labelled(checkbox("kind", kind, true), `${KINDS[kind].label} (${number})`, icon);
}

function bitBox(bit) {
  const number = values.get("flags").filter((flags) => flags & bit).length;
  return labelled(checkbox("bit", bit, false), `${data.flags[bit]} (${number})`);
}

function rangeInputs(name, text) {
  const label = document.createElement("label");
  const title = document.createElement("span");
  title.textContent = text;
  label.append(title, ...["least", "most"].map((end) => numberInput(name, text, end)));
  return label;
}

function numberInput(name, text, end) {
  const input = document.createElement("input");
  Object.assign(input, { type: "number", step: "any", name: `${name}-${end}`, placeholder: end });
  input.setAttribute("aria-label", `${text}, ${end}`);
  return input;
}

function readFilters() {
  const checked = (name, state) => [...form.querySelectorAll(`input[name=${name}]`)].filter((input) => input.checked === state);
  filters.hide = new Set(checked("kind", false).map((input) => input.value));
  filters.drop = checked("bit", true).reduce((sum, input) => sum | Number(input.value), 0);
  for (const name of ["score", "bright"]) filters[name] = ["least", "most"].map((end) => numberOf(form.elements[`${name}-${end}`].value));
  refresh();
}

const numberOf = (text) => (text.trim() === "" || !Number.isFinite(Number(text)) ? null : Number(text));

// The form as the filters stand, after a permalink set them.
function fillFilters() {
  for (const input of form.querySelectorAll("input[name=kind]")) input.checked = !filters.hide.has(input.value);
  for (const input of form.querySelectorAll("input[name=bit]")) input.checked = (filters.drop & Number(input.value)) !== 0;
  for (const name of ["score", "bright"]) {
    ["least", "most"].forEach((end, i) => (form.elements[`${name}-${end}`].value = filters[name][i] ?? ""));
  }
}
