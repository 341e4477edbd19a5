/* The page of an operation, livelier: the preview follows the form as one types. Without this file it is a button. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("form.bo-operation").forEach(showWhatApplies);
    document.querySelectorAll("form[data-operation]").forEach(followWithPreview);
    document.querySelectorAll("details.bo-more").forEach(closeFromOutside);
    document.querySelectorAll("[data-copy]").forEach(copyOnClick);
    document.querySelectorAll(".bo-jump").forEach(jumpByKeys);
    document.querySelectorAll("[data-find-in]").forEach(findLines);
    if (document.querySelector("[data-look-again]")) {
        lookAgain();
    }
});

// The theme hides the page until its script has run, and by then the browser has given up on autofocus.
document.addEventListener("alpine:initialized", () => {
    requestAnimationFrame(() => {
        // Where the browser did not give up, it went to the autofocus, past what was refused.
        if (document.activeElement.matches("body, [autofocus]")) {
            whereToBegin()?.focus();
        }
    });
});

// The first answer that was refused, else what is told instead of going on, else the first question.
function whereToBegin() {
    const first = (field) => field?.querySelector("input:checked") ?? field?.querySelector("input, select, textarea");
    return (
        first(document.querySelector(".bo-operation .bo-field:has(.bo-error)")) ??
        document.querySelector(".bo-operation [data-preview] [role='alert']") ??
        document.querySelector("[autofocus]") ??
        first(document.querySelector(".bo-operation .bo-field"))
    );
}

// Django's two-box chooser builds itself with the page's load, and names an icon without saying that it is one.
window.addEventListener("load", () => {
    setTimeout(() => document.querySelectorAll(".help-tooltip").forEach((icon) => icon.setAttribute("role", "img")));
});

// What Stripe tells of an act arrives a moment after it, so the page that shows the act looks again for a while. A page
// that says how often looks until it says so no more.
function lookAgain() {
    const PAUSE_MS = 800;
    const howOften = Number(document.querySelector("[data-look-again]").dataset.lookAgain);
    let left = howOften || 60;
    const timer = setInterval(async () => {
        if (document.hidden) {
            return;
        }
        if (left-- === 0) {
            clearInterval(timer);
            return;
        }
        let fresh = null;
        try {
            const response = await fetch(window.location.href);
            fresh = response.ok ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
        } catch {
            return; // the server is away for a moment; the next look will tell
        }
        if (howOften && fresh && !fresh.querySelector("[data-look-again]")) {
            clearInterval(timer);
        }
        document.querySelectorAll("[data-part]").forEach((part) => {
            const now = fresh?.getElementById(part.id);
            if (now && now.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) {
                part.replaceChildren(...now.childNodes);
            }
        });
    }, PAUSE_MS);
}

// A question that depends on the answer to another is shown only with that answer: data-only-when="when=now".
function showWhatApplies(form) {
    const dependent = form.querySelectorAll("[data-only-when]");
    const refresh = () => {
        const data = new FormData(form);
        dependent.forEach((field) => {
            const [name, ...values] = field.dataset.onlyWhen.split(/[=|]/);
            field.hidden = !data.getAll(name).some((value) => values.includes(value));
        });
    };
    form.addEventListener("change", refresh);
    refresh();
}

// A menu closes as menus do: with Escape, or by a click elsewhere.
function closeFromOutside(menu) {
    document.addEventListener("click", (event) => {
        if (!menu.contains(event.target)) {
            menu.open = false;
        }
    });
    menu.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && menu.open) {
            menu.open = false;
            menu.querySelector("summary").focus();
        }
    });
}

// "g" and then a letter leads to a part of the page: data-key="i". Nothing happens while somebody types.
function jumpByKeys(nav) {
    let began = -Infinity;
    document.addEventListener("keydown", (event) => {
        const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
        if (isTyping || event.ctrlKey || event.metaKey || event.altKey) {
            return;
        }
        const link = event.timeStamp - began < 1500 && nav.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
        began = event.key === "g" ? event.timeStamp : -Infinity;
        if (link) {
            event.preventDefault();
            link.click();
            const part = document.querySelector(link.hash);
            part.tabIndex = -1;
            part.focus();
        }
    });
}

// What is to be passed on is copied by a button; without a clipboard it is selected, to be copied by hand.
function copyOnClick(button) {
    const field = document.getElementById(button.dataset.copy);
    const text = field.value ?? field.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
        field.select ? field.select() : getSelection().selectAllChildren(field);
        try {
            await navigator.clipboard.writeText(text);
        } catch {
            return; // not over plain http, or not allowed: it stands selected
        }
        button.textContent = button.dataset.copied;
    });
}

// A long text is narrowed to its lines that hold what is typed, with what was found marked. Until then, and without
// this, it is all there.
function findLines(box) {
    const text = document.getElementById(box.dataset.findIn);
    const field = box.querySelector("input");
    const status = box.querySelector("[role='status']");
    const whole = text.textContent;
    const lines = whole.split("\n");
    box.hidden = false;

    function told(count) {
        return count === 0 ? box.dataset.none : count === 1 ? box.dataset.one : box.dataset.many.replace("{n}", count);
    }

    // As nodes of text, so that nothing of what a customer wrote is read as markup.
    function marked(line, sought) {
        const parts = [];
        let from = 0;
        const lower = line.toLowerCase();
        // A letter may grow when it is lowered; then places in one are no places in the other.
        const places = lower.length === line.length ? lower : line;
        for (let at = places.indexOf(sought); at !== -1; at = places.indexOf(sought, from)) {
            const mark = document.createElement("mark");
            mark.textContent = line.slice(at, at + sought.length);
            parts.push(line.slice(from, at), mark);
            from = at + sought.length;
        }
        return [...parts, `${line.slice(from)}\n`];
    }

    field.addEventListener("input", () => {
        const sought = field.value.trim().toLowerCase();
        if (!sought) {
            text.textContent = whole;
            status.textContent = "";
            return;
        }
        const found = lines.filter((line) => line.toLowerCase().includes(sought));
        text.replaceChildren(...found.flatMap((line) => marked(line, sought)));
        status.textContent = told(found.length);
    });
}

function followWithPreview(form) {
    const PAUSE_MS = 350;
    const names = form.dataset.operation.split(" ");
    const target = form.querySelector("[data-preview]");
    const previewButton = form.querySelector("[data-preview-button]");
    let shown = asked();
    let round = 0;
    let timer = null;
    let flight = null;
    let isApplying = false;

    // It stays the form's default button, so that Enter shows what will happen and never does it. It is seen as long as
    // there is nothing to confirm, so that nobody ends without a button.
    function showOrHidePreviewButton() {
        const isShown = target.querySelector("[data-confirm-button]") !== null;
        previewButton.parentElement.classList.toggle("sr-only", isShown);
        previewButton.tabIndex = isShown ? -1 : 0;
    }
    showOrHidePreviewButton();

    function asked() {
        const data = new FormData(form);
        return JSON.stringify(names.map((name) => data.getAll(name)));
    }

    function setBusy(isBusy) {
        target.setAttribute("aria-busy", String(isBusy));
        target.querySelectorAll("[data-confirm-button]").forEach((button) => {
            button.disabled = isBusy;
        });
    }

    async function refresh() {
        clearTimeout(timer);
        flight?.abort();
        flight = new AbortController();
        const mine = ++round;
        const question = asked();
        const body = new FormData(form);
        body.delete("token");
        body.set("step", "preview");
        setBusy(true);
        let answer = null;
        try {
            const response = await fetch(window.location.href, {
                method: "POST",
                body,
                headers: { "X-Preview": "1" },
                signal: flight.signal,
            });
            // Somebody who was logged out is led to the login page: that is no preview.
            if (response.ok && !response.redirected) {
                answer = await response.text();
            }
        } catch {
            answer = null;
        }
        if (mine !== round) {
            return; // an older question; a newer one is on its way
        }
        shown = question;
        if (answer === null) {
            target.replaceChildren(form.querySelector("[data-preview-failed]").content.cloneNode(true));
        } else {
            target.innerHTML = answer;
        }
        showOrHidePreviewButton();
        setBusy(false);
    }

    function onEdit(event) {
        if (!names.includes(event.target.name)) {
            return;
        }
        if (asked() === shown) {
            return;
        }
        // What stands there answers another question now, so it cannot be agreed to.
        setBusy(true);
        clearTimeout(timer);
        timer = setTimeout(refresh, PAUSE_MS);
    }

    form.addEventListener("input", onEdit);
    form.addEventListener("change", onEdit);
    form.addEventListener("submit", (event) => {
        if (event.submitter === previewButton) {
            event.preventDefault();
            refresh();
            return;
        }
        if (isApplying) {
            event.preventDefault();
            return;
        }
        isApplying = true;
        // After the browser has read which button it was.
        setTimeout(() => setBusy(true), 0);
    });
    window.addEventListener("pageshow", (event) => {
        if (event.persisted) {
            isApplying = false;
            refresh();
        }
    });
}
