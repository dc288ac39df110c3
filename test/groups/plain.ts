import { together } from './together.ts';

together('plain');
