/* Alpine's CSP build sees no globals. What the admin theme's templates call by name is put into their scope here. */
"use strict";

document.addEventListener("alpine:init", () => {
    const { Alpine, theme, searchCommand, getCurrentTab, sortRecords } = window;

    Alpine.data("theme", (...args) => ({
        ...theme(...args),
        getCurrentTab,
        sortRecords,
        resizing: false,
        resizeSidebar(event) {
            if (!this.resizing) {
                return;
            }
            const bounds = document.getElementById("nav-sidebar").getBoundingClientRect();
            const isRightToLeft = getComputedStyle(document.documentElement).direction === "rtl";
            const width = isRightToLeft ? bounds.right - event.clientX : event.clientX;
            this.sidebarWidth = Math.min(360, Math.max(220, width));
            localStorage.setItem("sidebarWidth", this.sidebarWidth);
        },
        sidebarStyle() {
            return { width: `${this.sidebarWidth}px` };
        },
    }));

    if (searchCommand) {
        Alpine.data("searchCommand", searchCommand);
    }
});
