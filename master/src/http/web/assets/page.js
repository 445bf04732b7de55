// The script of every page.

import { start as keepFresh } from './live.js';
import { start as listen } from './send.js';
import { show } from './time.js';

document.documentElement.classList.add('scripted');
show();
setInterval(show, 1000);
listen();
keepFresh();
