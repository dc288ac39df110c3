import { together } from './together.ts';

together('parser');
