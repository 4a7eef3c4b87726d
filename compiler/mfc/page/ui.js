"use strict";
// The form of `mfc ui`: every change is planned by the server, whose HTML takes the place of the old.
const token = new URLSearchParams(location.search).get("token") ?? "";
const form = document.getElementById("form");
const controls = [...form.querySelectorAll("[data-path]")];
const boxes = [...form.querySelectorAll("[data-target]")];
const more = document.getElementById("more");
const status = document.getElementById("status");
const others = new Map(); // fields without a control, which buttons have set
let ownTargets = chosen().join();
let last = state(); // what is shown
let digest = form.dataset.digest;
let turn = 0;
let timer = 0;

function chosen() {
  return boxes.filter((box) => box.checked).map((box) => box.dataset.target);
}

function state() {
  const set = Object.fromEntries(others);
  for (const control of controls) {
    const value = control.value.trim();
    if (value && value !== control.dataset.own) set[control.dataset.path] = value;
  }
  const targets = chosen();
  return { set, targets: targets.join() === ownTargets ? [] : targets };
}

function tell(name, text = "") {
  status.replaceChildren(document.getElementById(name)?.content.cloneNode(true) ?? text);
}

async function ask(path, question) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Mfc-Token": token },
    body: JSON.stringify(question),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

function marks() {
  const now = state();
  const changed = Object.keys(now.set).length > 0 || now.targets.length > 0;
  document.getElementById("save").disabled = !changed;
  document.getElementById("reset").disabled = !changed;
  for (const control of controls) control.classList.toggle("changed", control.dataset.path in now.set);
  more.hidden = others.size === 0;
  more.querySelector("ul").replaceChildren(
    ...[...others].map(([path, value]) => {
      const item = document.createElement("li");
      const code = document.createElement("code");
      const button = document.createElement("button");
      code.textContent = `${path}: ${value}`;
      button.type = "button";
      button.append(document.getElementById("t-undo").content.cloneNode(true));
      button.addEventListener("click", () => {
        others.delete(path);
        plan();
      });
      item.append(code, " ", button);
      return item;
    }),
  );
}

async function plan() {
  clearTimeout(timer);
  marks();
  const now = state();
  const mine = ++turn; // an answer that is still to come is no longer wanted
  if (JSON.stringify(now) === JSON.stringify(last)) {
    document.getElementById("main").removeAttribute("aria-busy");
    tell("t-planned");
    return;
  }
  document.getElementById("main").setAttribute("aria-busy", "true");
  tell("t-planning");
  try {
    const said = await ask("/plan", { state: now, before: last });
    if (mine !== turn) return;
    const open = new Set([...document.querySelectorAll("main details[open] > summary")].map((one) => one.textContent));
    document.getElementById("body").innerHTML = said.body;
    for (const one of document.querySelectorAll("main details > summary")) {
      if (open.has(one.textContent)) one.parentElement.open = true;
    }
    last = now;
    tell("t-planned");
  } catch (error) {
    if (mine === turn) failed(error);
  } finally {
    if (mine === turn) document.getElementById("main").removeAttribute("aria-busy");
  }
}

function failed(error) {
  if (error instanceof TypeError) tell("t-gone");
  else tell("", error.message);
}

async function save() {
  await plan();
  const now = state();
  try {
    digest = (await ask("/save", { state: now, digest })).digest;
    for (const control of controls) control.dataset.own = control.value.trim() || control.dataset.own;
    ownTargets = chosen().join();
    others.clear();
    last = state();
    marks();
    tell("t-saved");
  } catch (error) {
    failed(error);
  }
}

form.addEventListener("input", () => {
  clearTimeout(timer);
  tell("t-planning");
  timer = setTimeout(plan, 400);
});
form.addEventListener("change", plan);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
document.getElementById("reset").addEventListener("click", () => {
  for (const control of controls) control.value = control.dataset.own;
  for (const box of boxes) box.checked = ownTargets.split(",").includes(box.dataset.target);
  others.clear();
  plan();
});
document.getElementById("body").addEventListener("click", (event) => {
  const button = event.target.closest("button.try");
  if (!button) return;
  for (const [path, value] of Object.entries(JSON.parse(button.dataset.set))) {
    const control = controls.find((one) => one.dataset.path === path);
    if (control) control.value = value;
    else others.set(path, value);
  }
  plan();
  document.getElementById("main").focus();
});
