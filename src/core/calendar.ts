const DAY = /^(\d{4})-(\d\d)-(\d\d)$/;
const DAYS_OF_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** False for a day that the Gregorian calendar has not: `Date.parse` takes 30 February for 2 March. @param text `YYYY-MM-DD` */
export function isCalendarDay(text: string): boolean {
  const [, year = Number.NaN, month = 0, day = 0] = (DAY.exec(text) ?? []).map(Number);
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const last = month === 2 && isLeap ? 29 : DAYS_OF_MONTH[month - 1];
  return last !== undefined && day >= 1 && day <= last;
}
