"""Pure: states, transitions, rules, refusals. Values in, values out; nothing here does I/O."""
