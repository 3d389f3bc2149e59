// The one place where the vendored modules are named: Preact, signals, and htm bound to Preact.
import { h, render, Component } from "./vendor/preact.js";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/preact-hooks.js";
import { batch, computed, effect, signal } from "./vendor/signals.js";
import htm from "./vendor/htm.js";

const html = htm.bind(h);

export { Component, batch, computed, effect, html, render, signal, useEffect, useLayoutEffect, useMemo, useRef, useState };
