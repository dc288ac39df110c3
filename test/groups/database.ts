import { together } from './together.ts';

together('database');
