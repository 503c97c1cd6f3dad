import type { Attack } from './attack.ts';
import { fileAttacks } from './attacks/files.ts';
import { networkAttacks } from './attacks/network.ts';
import { privilegeAttacks } from './attacks/privileges.ts';
import { resourceAttacks } from './attacks/resources.ts';

/** Those that may go on side by side. */
export const together: readonly Attack[] = [...networkAttacks, ...privilegeAttacks, ...fileAttacks];

/** Those that are made after them, one by one. */
export const alone: readonly Attack[] = resourceAttacks;
