/** Names (argv[0]) under which the program is the resident, and the runtime of a front that found none. */
export const RESIDENT = "inro-runtime-resident";
export const ABSENT = "inro-runtime+";

/** Where fronts look for it. */
export const RESIDENT_SOCKET = "/run/inro-resident/sock";
