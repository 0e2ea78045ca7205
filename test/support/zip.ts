import { crc32, deflateRawSync } from "node:zlib";

/** A file to put into a ZIP, and what the ZIP shall say of it where that is not the truth. */
export interface ZippedFile {
  readonly name: string;
  readonly content: Buffer | string;
  readonly isStored?: boolean;
  readonly told?: {
    readonly size?: number;
    readonly crc?: number;
    readonly flags?: number;
    readonly method?: number;
  };
  /** Sizes and CRC stand behind the file, not before it. */
  readonly hasDescriptor?: boolean;
  readonly extra?: Buffer;
}

const NAME_IS_UTF8 = 0x0800;
const SIZES_FOLLOW = 0x0008;

/** Bytes of a ZIP with these files, right or wrong as told. */
export function zipWith(files: readonly ZippedFile[], comment = ""): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const file of files) {
    const { told = {}, hasDescriptor = false, extra = Buffer.alloc(0) } = file;
    const content = Buffer.from(file.content);
    const packed = file.isStored ? content : deflateRawSync(content, { level: 9 });
    const name = Buffer.from(file.name);
    const head = Buffer.alloc(26);
    head.writeUInt16LE(20, 0);
    head.writeUInt16LE((told.flags ?? NAME_IS_UTF8) | (hasDescriptor ? SIZES_FOLLOW : 0), 2);
    head.writeUInt16LE(told.method ?? (file.isStored ? 0 : 8), 4);
    head.writeUInt32LE(told.crc ?? crc32(content), 10);
    head.writeUInt32LE(packed.length, 14);
    head.writeUInt32LE(told.size ?? content.length, 18);
    head.writeUInt16LE(name.length, 22);
    const entry = Buffer.concat([Buffer.from("PK\x01\x02\x14\x00"), head, Buffer.alloc(14)]);
    entry.writeUInt32LE(offset, 42);
    const local = Buffer.from(head);
    local.writeUInt16LE(extra.length, 24);
    const descriptor = Buffer.alloc(hasDescriptor ? 16 : 0);
    if (hasDescriptor) {
      descriptor.write("PK\x07\x08", "latin1");
      head.copy(descriptor, 4, 10, 22);
      local.fill(0, 10, 22);
    }
    const parts = [Buffer.from("PK\x03\x04"), local, name, extra, packed, descriptor];
    locals.push(...parts);
    directory.push(entry, name);
    offset += parts.reduce((sum, part) => sum + part.length, 0);
  }
  const directoryBytes = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(directoryBytes.length, 12);
  end.writeUInt32LE(offset, 16);
  end.writeUInt16LE(Buffer.byteLength(comment), 20);
  return Buffer.concat([...locals, directoryBytes, end, Buffer.from(comment)]);
}
